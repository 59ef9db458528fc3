"""The pipeline `payments_verify`: a sound run passes, a tampered one does not."""

import json
from pathlib import Path

import pytest

from pipelines import payments_verify
from tests.pipelines.runs import generate, run_payments
from tests.pipelines.test_payments_replay import tampered


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_payments(generate(tmp_path / "raw.avro"), tmp_path / "run")


def test_a_sound_run_passes(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert payments_verify.run([f"--input={run}"]) == 0
    assert capfd.readouterr().out == "verify: every invariant holds\n"


def test_a_tampered_journal_does_not(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    tampered(run, other / "topics", "payments.journal")
    (other / "shards.jsonl").write_bytes((run / "shards.jsonl").read_bytes())
    assert payments_verify.run([f"--input={other}"]) == 1
    assert "payments.journal/" in capfd.readouterr().out


def test_counts_that_do_not_add_up_are_told(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = (run / "shards.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    lines[0] = json.dumps(first | {"applied": first["applied"] + 1})
    (run / "shards.jsonl").write_text("\n".join(lines))
    assert payments_verify.run([f"--input={run}"]) == 1
    assert f"consumed {first['offset']}, accounted for {first['offset'] + 1}" in capfd.readouterr().out
