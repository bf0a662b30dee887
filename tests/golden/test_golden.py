"""Reports of kept runs stay what they are, number by number, unless the changelog says why they changed."""

import json

import pytest

from golden.runs import FOLDER, REPORTS, comparable


def differences(found, kept, place=""):
    """Say where two JSON values differ: exactly, but for the last bits of a float."""
    if isinstance(found, dict) and isinstance(kept, dict):
        for name in sorted(found.keys() | kept.keys()):
            if name not in found or name not in kept:
                yield f"{place}/{name}: only {'now' if name in found else 'kept'}"
            else:
                yield from differences(found[name], kept[name], f"{place}/{name}")
    elif isinstance(found, list) and isinstance(kept, list) and len(found) == len(kept):
        for number, pair in enumerate(zip(found, kept, strict=True)):
            yield from differences(*pair, f"{place}/{number}")
    elif isinstance(found, float) and isinstance(kept, float):
        if found != pytest.approx(kept, rel=1e-9, abs=1e-12):
            yield f"{place}: {found} now, {kept} kept"
    elif found != kept or type(found) is not type(kept):
        yield f"{place}: {str(found)[:200]} now, {str(kept)[:200]} kept"


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_a_report_is_what_it_was(name):
    kept = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert list(differences(comparable(REPORTS[name]()), kept)) == []
