"""The main job, from the command line to the exit status."""

import json
from pathlib import Path

import pytest

from pipelines import main_job, payments_verify
from pipelines.common import UsageError
from tests.pipelines.runs import GOLDEN


def test_generated_payments(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main_job.run([f"--output={tmp_path}/out", "--payments=400", "--accounts=40", "--seed=3"]) == 0
    out = capfd.readouterr().out
    assert "invariants: all hold" in out and "trial balance:" in out and "total 0.00" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")) == [
        *("raw.avro", "raw.avro.truth.json", "report.html", "shards.jsonl", "topics", "views.duckdb")
    ]
    assert json.loads((tmp_path / "out" / "raw.avro.truth.json").read_text())["payments"] == 400


def test_own_input(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main_job.run([f"--input={GOLDEN}/payments.jsonl", f"--output={tmp_path}/out"]) == 0
    out = capfd.readouterr().out
    assert "payments: 14 records" in out and "dead letters: BAD_MAGIC 1" in out and "repeated attempts: 2" in out
    assert "EUR: accounts 40.00, in transit 0.00, outside -40.00, total 0.00" in out
    assert not (tmp_path / "out" / "raw.avro").exists()


def test_a_violation_is_exit_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(payments_verify, "verify", lambda *_: ["payments.journal/3/7: balance 5, expected 4"])
    assert main_job.run([f"--input={GOLDEN}/payments.jsonl", f"--output={tmp_path}/out"]) == 1
    out = capfd.readouterr().out
    assert "invariants: 1 VIOLATED" in out and "  payments.journal/3/7: balance 5, expected 4" in out


def test_a_planted_fault_that_came_out_otherwise_is_a_violation(tmp_path: Path) -> None:
    main_job.run([f"--output={tmp_path}/out", "--payments=400", "--accounts=40"])
    truth_file = tmp_path / "out" / "raw.avro.truth.json"
    truth = json.loads(truth_file.read_text())
    assert main_job.against_truth(tmp_path / "out") == []
    truth["duplicates"] += 1
    truth_file.write_text(json.dumps(truth))
    assert len(main_job.against_truth(tmp_path / "out")) == 1


@pytest.mark.parametrize("flag", ["--payments=5", "--accounts=1", "--seed=-1", "--hop_ms=-1", "--input=nosuch.avro"])
def test_bad_flags_leave_nothing(flag: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        main_job.run([f"--output={tmp_path}/out", flag])
    assert list(tmp_path.iterdir()) == []
