"""Launches of the live stages: what is checked, what is launched; lines of metrics; the job as `live` starts it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest

from pipelines import live_job, live_stages, payments_accounts, payments_admission, payments_live, preflight
from pipelines.common import UsageError
from pipelines.live_job import Launching, LiveJob, job_flags, local_stack
from pipelines.live_options import POINTS, given_flags, knobs_of, parse_live
from pipelines.live_stages import ReportTurns, summary_line
from pipelines.payments_live import PaymentsLiveOptions
from pipelines.preflight import check_flags
from stack.cluster import Stack
from stack.flink import Rest
from tests.conftest import MakePipeline
from transforms.lane_types import Summary
from transforms.log_writer import WriteFailed

SUMMARY = Summary(
    **dict.fromkeys(Summary._fields, 0) | {"stage": "s", "worker": "w", "counts": {}, "partitions": (), "offsets": ()}
)  # type: ignore[arg-type]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The roots of the pipelines that are launched."""
    found: list[list[str]] = []

    def run_job(options: Any, build: Any) -> None:
        pipeline = beam.Pipeline()
        build(pipeline)
        names = {each.unique_name for each in pipeline.to_runner_api().components.transforms.values()}
        found.append(sorted(name for name in names if name.isalpha()))

    monkeypatch.setattr(payments_live, "run_job", run_job)
    monkeypatch.setattr(preflight, "check_places", lambda flags: [])
    monkeypatch.setattr(preflight, "check_topics", lambda *_: [])
    return found


def test_all_stages_or_one(launched: list[list[str]], tmp_path: Path) -> None:
    place = f"--snapshots={tmp_path / 'snapshots'}"
    assert payments_live.run([place]) == 0
    assert payments_admission.run([place, "--no_metrics"]) == 0
    assert payments_accounts.run([place]) == 0
    assert payments_live.run([place, "--only=Watchdog,Admission", "--no_metrics"]) == 0
    reports = ["ReportAccounts", "ReportAdmission", "ReportWatchdog"]
    whole = ["Accounts", "Admission", *reports, "Watchdog"]
    assert launched == [whole, ["Admission"], ["Accounts", "ReportAccounts"], ["Admission", "Watchdog"]]
    with pytest.raises(UsageError, match="no stage of this job, which has Admission: Accounts: --only"):
        payments_admission.run([place, "--only=Accounts"])


def test_nothing_unsafe_is_launched(
    launched: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert payments_live.run([]) == 2
    assert "refused: --snapshots is missing" in capsys.readouterr().err
    monkeypatch.setattr(preflight, "check_topics", lambda settings, wanted: [f"{len(wanted)} topics"])
    assert payments_live.run([f"--snapshots={tmp_path}", "--no_metrics"]) == 2
    assert capsys.readouterr().err == "refused: 8 topics\n"
    with pytest.raises(UsageError, match="at least 1"):
        payments_live.run([f"--snapshots={tmp_path}", "--sla_ms=0"])
    assert launched == []


@pytest.mark.parametrize("point", sorted(POINTS))
def test_an_operating_point_and_how_often_there_are_snapshots(point: str) -> None:
    options, _ = parse_live(["--snapshots=s", f"--point={point}", "--snapshot_s=7"], PaymentsLiveOptions)
    knobs = knobs_of(options)
    assert knobs.lane.snapshot_s == 7 and knobs.read == POINTS[point].read and knobs.write == POINTS[point].write
    assert knobs.lane.lease_ms == POINTS[point].lane.lease_ms


def test_summaries_are_lines_on_the_topic_of_metrics_and_a_broker_that_is_away_costs_some(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    events: list[str] = []

    class Writer:
        def __init__(self, settings: dict[str, str]) -> None:
            events.append("open")

        def write(self, lines: list[Any]) -> None:
            if len(events) == 1:
                events.append("fail")
                raise WriteFailed("away")
            written.extend(lines)

        def poll(self) -> None:
            pass

        def close(self) -> None:
            events.append("close")

    monkeypatch.setattr(live_stages, "LogWriter", Writer)
    settings: Any = SimpleNamespace(resolved=dict)
    write = live_stages._WriteSummaries(settings)
    for _ in range(3):
        assert list(write.process(SUMMARY)) == []
    write.teardown()
    assert events == ["open", "fail", "open", "close"]
    assert [(topic, partition, key) for topic, partition, key, *_ in written] == [("rails.metrics", 0, b"s/0")] * 2
    live_stages._WriteSummaries(settings).teardown()
    pipeline = beam.Pipeline()
    summaries = pipeline | beam.Create([SUMMARY], reshuffle=False).with_output_types(Summary) | ReportTurns(settings)
    assert summaries.element_type is bytes


def test_a_line_of_metrics_is_the_summary_and_its_time() -> None:
    line = json.loads(summary_line(SUMMARY, 12.5))
    assert line["at"] == 12_500 and line["stage"] == "s" and set(line) == {*Summary._fields, "at"}


# --- the job as `live` starts it ---

HOW = Launching("b:1", lanes=2)


def test_the_flags_of_each_engine_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(tmp_path, 23000, workers=1)
    monkeypatch.setattr(live_job.artifacts, "prism", lambda: Path("/prism"))
    for engine in ("FlinkRunner", "PrismRunner", "DirectRunner"):
        words = job_flags(stack, replace(HOW, engine=engine), "name", tmp_path)
        given = given_flags(words)
        assert check_flags(given, given["snapshots"]) == [], engine
        parse_live(words, PaymentsLiveOptions)
    assert "runner" not in given_flags(job_flags(None, HOW, "name", tmp_path))


def test_the_stack_that_runs_keeps_its_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_job, "folder", lambda: tmp_path)
    new = local_stack("FlinkRunner", 6)
    assert (new.shape.only, new.shape.workers, new.shape.slots) == (("kafka", "flink", "jobserver"), 1, 6)
    assert local_stack("PrismRunner", 1).shape.only == ("kafka",)
    running = Stack(tmp_path, 23000, taskmanagers=2, slots=3, only=("kafka", "postgres"))
    monkeypatch.setattr(live_job, "running", lambda folder: running)
    found = local_stack("FlinkRunner", 6)
    assert found.shape.only == ("kafka", "flink", "jobserver", "postgres") and found.ports == running.ports
    assert (found.shape.taskmanagers, found.shape.slots, found.shape.workers) == (2, 3, 1)


def test_a_launcher_that_ends_is_told_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_job, "folder", lambda: tmp_path)
    monkeypatch.setattr(live_job, "job_flags", lambda *_: [])
    job = LiveJob(None, HOW, "nosuch_module")
    job._process.wait()
    with pytest.raises(UsageError, match=r"the job ended \(1\): .*No module named nosuch_module"):
        job.check()
    job.close()
    assert job.found() is None


def test_a_job_is_cancelled_and_its_launcher_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_job, "job_flags", lambda *_: [])
    states = ["RUNNING", "RUNNING", "CANCELED"]
    cancelled: list[str] = []
    rest = Rest(23081)
    monkeypatch.setattr(rest, "job", lambda name: {"jid": "1", "state": states.pop(0)})
    monkeypatch.setattr(rest, "cancel", cancelled.append)
    sleeper = tmp_path / "sleeper.py"
    sleeper.write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('on', flush=True)\ntime.sleep(60)\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(live_job, "_PATIENCE_S", 0.2)
    job = LiveJob(SimpleNamespace(rest=rest, folder=tmp_path), HOW, "sleeper")  # type: ignore[arg-type]
    while "on" not in job.log.read_text():
        job.check()
    job.close()
    assert cancelled == ["1"] and job._process.returncode == -9
