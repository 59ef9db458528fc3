"""The pipeline `generate_auctions`."""

import json
from pathlib import Path

import pytest

from pipelines import generate_auctions
from pipelines.common import UsageError
from pipelines.generate_auctions import settings_for
from tests.pipelines.runs import files

FEW = ("--auctions=10", "--sellers=3", "--bidders=40", "--cheats=1")


def test_equal_flags_give_equal_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        generate_auctions.run([f"--output={tmp_path}/{name}/raw.avro", *FEW])
    assert files(tmp_path / "a") == files(tmp_path / "b") and len(files(tmp_path / "a")) == 3
    out = capfd.readouterr().out
    assert "10 items" in out and "6 cheats" in out
    generate_auctions.run([f"--output={tmp_path}/c/raw.avro", *FEW, "--seed=2", "--start=2027-01-01"])
    assert files(tmp_path / "a") != files(tmp_path / "c")
    truth = json.loads((tmp_path / "c" / "raw.avro.truth.json").read_text())
    assert truth["items"] == 10 and truth["strength"] == "strong"


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--output=x.jsonl", "must end with .avro"),
        ("--auctions=0", "--auctions must be from 1"),
        ("--bad=2", "--bad must lie within 0 and 1"),
        ("--start=soon", "--start is no ISO 8601 time"),
    ],
)
def test_bad_flags_leave_nothing(flag: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        generate_auctions.run([f"--output={tmp_path}/raw.avro", *FEW, flag])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [1, 5, 100, 2_000])
def test_people_in_proportion(count: int) -> None:
    settings = settings_for(count)
    assert settings.auctions == count and settings.cheats <= settings.sellers and settings.bidders >= 40
