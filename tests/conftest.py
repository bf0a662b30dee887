import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # helpers such as `tiny` are modules beside the tests

collect_ignore_glob = [
    "data/*"
]  # scripts that made the files there; they want harnesses that the tests do not
