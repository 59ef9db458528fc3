"""FoldLog on a real Flink cluster: two stages live, a worker killed, everything exact; lanes on the workers as they should be."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stack.cluster import Stack
from stack.services import wait_until
from tests.stack.hops_check import Hops

PATIENCE = 180  # seconds: two busy cores


@contextmanager
def running_job(stack: Stack, folder: Path, name: str, *flags: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The job of `hops_job`; gives a function that reads the summaries so far."""
    notes = folder / f"{name}.notes"
    command = [
        *(sys.executable, "-m", "tests.stack.hops_job", f"--bootstrap={stack.bootstrap}", f"--job_name={name}"),
        *(f"--snapshots={folder / 'snapshots'}", f"--notes={notes}", "--runner=PortableRunner"),
        *(f"--job_endpoint={stack.job_endpoint}", "--environment_type=EXTERNAL"),
        *(f"--environment_config={stack.worker_endpoint()}", "--parallelism=2", "--checkpointing_interval=1000"),
        *("--finish_bundle_before_checkpointing", "--max_bundle_time_mills=20", *flags),
    ]
    log = (folder / f"{name}.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield lambda: [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    finally:
        stack.rest.end(name, PATIENCE)
        process.kill()
        process.wait()


@pytest.fixture
def topics(stack: Stack) -> Hops:
    hops = Hops(stack.bootstrap)
    hops.make_topics()
    return hops


def completed(stack: Stack, name: str) -> int:
    job = stack.rest.job(name)
    return int(stack.rest.checkpoints(job["jid"]).get("counts", {}).get("completed", 0)) if job else 0


def received(stack: Stack, job: str, stage: str) -> list[int]:
    """How many elements each subtask that folds has got."""
    jid = (stack.rest.job(job) or {}).get("jid")
    vertices = (stack.rest.get(f"/jobs/{jid}") or {}).get("vertices", [])
    (folds,) = (one["id"] for one in vertices if stage in one["name"] and "Lanes" not in one["name"])
    subtasks = (stack.rest.get(f"/jobs/{jid}/vertices/{folds}") or {}).get("subtasks", [])
    return [one["metrics"]["read-records"] for one in subtasks]


def test_a_killed_worker_changes_nothing(stack: Stack, topics: Hops, tmp_path: Path) -> None:
    topics.pay(2000)
    with running_job(stack, tmp_path, "hops-kill") as summaries:
        assert topics.wait(PATIENCE) == []
        assert wait_until(lambda: completed(stack, "hops-kill") > 1, PATIENCE)
        (worker,) = {summary["worker"].split(":")[1] for summary in summaries()}
        topics.pay(10_000)
        os.kill(int(worker), signal.SIGKILL)
        topics.pay(2000)
        assert topics.wait(PATIENCE) == []
        workers = {summary["worker"].split(":")[1] for summary in summaries()}
        assert len(workers) == 2 and worker in workers
        restored = [one for one in summaries() if not one["worker"].endswith(f":{worker}")]
        assert any(sum(one["counts"].values()) > one["records"] for one in restored), "they did not begin at 0"


def test_launched_again_and_twice_at_once(stack: Stack, topics: Hops, tmp_path: Path) -> None:
    """A second launch knows no checkpoint of the first; both write, and each output takes effect once."""
    topics.pay(2000)
    with running_job(stack, tmp_path, "hops-one") as first:
        assert topics.wait(PATIENCE) == []
        for stage in ("Debit", "Credit"):
            assert wait_until(lambda stage=stage: received(stack, "hops-one", stage) == [1, 1], PATIENCE), (
                "each subtask has one of the two lanes"
            )
        with running_job(stack, tmp_path, "hops-two", "--lanes=1") as second:
            assert wait_until(lambda: {"debit", "credit"} == {one["stage"] for one in second()}, PATIENCE)
            topics.pay(3000)
            assert topics.wait(PATIENCE) == []
            assert wait_until(
                lambda: sum(one["records"] for one in second() if one["stage"] == "debit") > 2999, PATIENCE
            )
            assert topics.wait(PATIENCE) == []
        assert len({one["worker"] for one in first()} & {one["worker"] for one in second()}) == 0
    assert topics.repeats() > 0
