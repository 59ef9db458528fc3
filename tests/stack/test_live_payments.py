"""Payments live on a real broker and a real cluster: whatever is stopped, moved or lost, the topics hold every invariant."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from payments.live_views import LIVE_TABLES, LIVE_VIEWS
from pipelines import (
    live,
    payment_views,
    payment_views_live,
    payments_admin,
    payments_live,
    payments_replay,
    payments_verify,
)
from pipelines.live_job import LiveJob
from stack.cluster import Stack
from stack.ports import BASE_VARIABLE, OFFSETS
from stack.services import wait_until
from tests.pipelines.runs import events
from tests.stack import next_release
from tests.stack.conftest import Engines
from tests.stack.live_system import System
from transforms.fold import DEAD_LETTERS
from transforms.kafka_topics import KafkaTopics


@pytest.fixture
def system(stack: Stack, tmp_path: Path) -> System:
    return System(stack, tmp_path)


def test_stopped_and_resumed_with_other_numbers_of_lanes(system: System) -> None:
    """Each launch is a new job, and every checkpoint of the one before is deleted: it has snapshots and the log. Payments that are on their
    way when a job ends arrive later.
    """
    for number, lanes in enumerate((1, 2, 4, 1)):
        with system.job(lanes) as job:
            system.pay()
            if number == 3:
                system.settle(job)
        for folder in (system.stack.folder / "flink" / "checkpoints").iterdir():
            shutil.rmtree(folder)
    found = system.verify()
    assert found.violations == []
    assert found.records > 4 * 120 * 5 and found.regenerated > 4 * 120 * 5


def test_a_cold_start_with_every_snapshot_deleted(system: System) -> None:
    """From offset 0 everything is folded and written again; readers drop it."""
    with system.job() as job:
        system.pay()
        system.settle(job)
    shutil.rmtree(system.folder / "snapshots")
    with system.job() as job:
        system.pay()
        system.settle(job)
    found = system.verify()
    assert found.violations == []
    assert found.repeats["payments.journal"] > 50 and found.repeats["payments.confirmed"] > 50
    assert payments_replay.run([f"--input={system.kept / 'topics'}"]) == 0
    views = ["--once", f"--bootstrap={system.stack.bootstrap}", f"--database={system.stack.services['postgres'].url}"]  # type: ignore[attr-defined]
    assert payment_views_live.run(views) == 0
    tables = _tables(system.stack)
    assert payment_views_live.run(views) == 0 and _tables(system.stack) == tables
    _agree_with_recorded(system.kept, tables)


def _tables(stack: Stack) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(stack.services["postgres"].url) as connection:  # type: ignore[attr-defined]
        names = [*(table.name for table in LIVE_TABLES), *LIVE_VIEWS]
        return {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2').fetchall() for name in names}


def _agree_with_recorded(folder: Path, tables: dict[str, list[tuple[Any, ...]]]) -> None:
    """The lines are those that the views of the recorded topics have, though records stand twice here."""
    payment_views.run([f"--input={folder / 'topics'}", f"--output={folder / 'views.duckdb'}"])
    with duckdb.connect(str(folder / "views.duckdb")) as recorded:
        for name in ("payments", "confirmed", "dead_letters"):
            assert sorted(map(repr, tables[name])) == sorted(map(repr, recorded.execute(f"FROM {name}").fetchall())), (
                name
            )
        kept = "account_id, version, payment_id, leg, contra, currency, amount, balance"  # not where they stand
        lines = recorded.execute(f"SELECT {kept} FROM journal ORDER BY 1, 2").fetchall()
        assert [row[:8] for row in tables["journal"]] == lines
    assert {row[-1] for row in tables["trial_balance"]} == {0} and len(tables["trial_balance"]) == 3


def test_new_rules_from_a_record_on(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old release stops before the record, the next one goes on; a replay across the record is exact."""

    def administer(*words: str) -> None:
        assert payments_admin.run([*words, f"--bootstrap={system.stack.bootstrap}"]) == 0

    def opened(number: int) -> None:
        administer("open", f"--account=late-{number}", "--currency=EUR", "--overdraft=5000")

    with system.job() as job:
        opened(1)
        system.pay()
        system.settle(job)
        before = system.ends("payments.journal")
        administer("version", "--stage=payments.accounts", "--number=2")
        opened(2)
        system.pay()
        assert wait_until(lambda: _restarts(system, job) > 0, 60), "the old release does not know the new rules"
        assert system.ends("payments.journal") == before
    with system.job(module="tests.stack.next_release") as job:
        system.settle(job)
    monkeypatch.setattr(payments_verify, "accounts_engine", next_release.engine)
    found = system.verify()
    assert found.violations == []
    letters = [letter for _, letter in events(system.kept, DEAD_LETTERS.name) if letter.code == "OVERDRAFT_TOO_HIGH"]
    assert {b"late-1", b"late-2"} & {letter.key for letter in letters} == {b"late-2"}


def test_no_room_for_checkpoints_does_not_restart_the_job(system: System) -> None:
    """Where the last file of each checkpoint should go there is a folder: each of them fails, and payments go on."""
    with system.job() as job:
        system.pay()
        assert wait_until(lambda: _counts(system, job)["completed"] > 0, 60)
        found, before = job.found(), _counts(system, job)
        assert found
        config = system.stack.rest.get(f"/jobs/{found['jid']}/checkpoints/config")
        assert config["tolerable_failed_checkpoints"] > 10**9
        place = system.stack.folder / "flink" / "checkpoints" / found["jid"]
        blocked = [place / f"chk-{before['total'] + number}" for number in range(1, 60)]
        for each in blocked:
            (each / "_metadata" / "in the way").mkdir(parents=True, exist_ok=True)
        try:
            assert wait_until(lambda: _counts(system, job)["failed"] >= before["failed"] + 3, 60)
            system.pay()
        finally:
            for each in blocked:
                shutil.rmtree(each, ignore_errors=True)
        completed = _counts(system, job)["completed"]
        assert wait_until(lambda: _counts(system, job)["completed"] > completed, 60)
        system.settle(job)
        assert _restarts(system, job) == 0
    assert system.verify().violations == []


def _counts(system: System, job: LiveJob) -> dict[str, int]:
    found = job.found()
    assert found
    counts: dict[str, int] = system.stack.rest.checkpoints(found["jid"]).get("counts", {"completed": 0, "failed": 0, "total": 0})
    return counts


def _restarts(system: System, job: object) -> int:
    found = job.found()  # type: ignore[attr-defined]
    metrics = system.stack.rest.get(f"/jobs/{found['jid']}/metrics?get=numRestarts") if found else None
    return int(metrics[0]["value"]) if metrics else 0


@pytest.mark.parametrize("runner", ["FlinkRunner", "DirectRunner", "PrismRunner"])
def test_the_command_live(
    runner: str, engines: Engines, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    engines(runner)
    System(stack, tmp_path)
    monkeypatch.setenv("BEAM_ON_RAILS_STACK", str(stack.folder))
    monkeypatch.setenv(BASE_VARIABLE, str(stack.ports.kafka - OFFSETS["kafka"]))
    shutil.rmtree(stack.folder / "live" / "snapshots", ignore_errors=True)
    assert live.run(["--rate=100", "--accounts=60", "--seconds=4", f"--runner={runner}"]) == 0
    told = capfd.readouterr().out
    assert "verify: every invariant holds" in told and "total 0.00" in told


def test_a_launch_without_topics_is_refused(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    system = System(stack, tmp_path)
    monkeypatch.setattr(payments_live, "run_job", lambda *_: pytest.fail("it was launched"))
    flags = [f"--bootstrap={stack.bootstrap}", f"--snapshots={tmp_path / 'snapshots'}"]
    place = [
        f"--job_endpoint={stack.job_endpoint}",
        "--runner=PortableRunner",
        "--environment_type=LOOPBACK",
        "--streaming",
    ]
    unsafe = payments_live.run([*flags, *place])
    lines = capfd.readouterr().err.splitlines()
    assert unsafe == 2 and [line.split(" is missing")[0] for line in lines] == [
        "refused: --checkpointing_interval",
        "refused: --finish_bundle_before_checkpointing",
    ]
    kafka = KafkaTopics(system.settings)
    kafka.delete(["payments.overdue"])
    assert wait_until(lambda: not kafka.find(["payments.overdue"]), 30)
    kafka.close()
    safe = ["--checkpointing_interval=2000", "--finish_bundle_before_checkpointing"]
    assert payments_live.run([*flags, *place, *safe]) == 2
    assert capfd.readouterr().err == "refused: payments.overdue: missing (./run_local.sh topics makes it)\n"
