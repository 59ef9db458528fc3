"""Error codes: each is explained, and each explanation is of a code that is raised."""

import pickle
import re
from pathlib import Path

import pytest

from transforms.errors import CODES, BadRecord


def test_the_codes_of_decoding_are_those_that_are_explained(root: Path) -> None:
    sources = [root / "transforms" / name for name in ("avro.py", "avro_runtime.py", "registry.py")]
    raised = {code for path in sources for code in re.findall(r"BadRecord\([\"']([A-Z0-9_]+)", path.read_text())}
    framed = re.search(r"def _frame_error.*", (root / "transforms" / "registry.py").read_text(), re.DOTALL)
    assert framed is not None
    raised |= set(re.findall(r"\"([A-Z0-9_]{5,})\"", framed.group()))
    assert raised <= set(CODES)
    assert set(CODES) <= raised


@pytest.mark.parametrize("code", CODES)
def test_codes_are_constants_with_a_meaning(code: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", code) and len(CODES[code]) > 5


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(BadRecord("TRUNCATED", "at 5")))
    assert (error.code, error.detail) == ("TRUNCATED", "at 5")
    assert BadRecord("X").detail == ""
