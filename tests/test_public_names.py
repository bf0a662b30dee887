import subprocess
import sys

import pytest

import muscle


def test_every_public_name_can_be_had():
    for name in muscle.__all__:
        assert getattr(muscle, name) is not None


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        muscle.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "statement",
    [
        "import muscle",
        "import muscle.cli",
        "from muscle import compare, read_run",
        "from muscle.report.html import render_html",
    ],
)
def test_the_light_half_never_imports_heavy_packages(statement):
    heavy = "{'torch', 'transformers', 'peft', 'lm_eval', 'pandas', 'plotly', 'scipy.stats'}"
    code = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
