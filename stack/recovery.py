"""`./run_local.sh stack recovery`: kill -9 of a TaskManager again and again; how long until elements come through?

With one TaskManager it is started again at once, as a supervisor would; with two the job moves to the other's slots.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from stack.cluster import Stack
from stack.errors import StackError
from stack.live_jobs import LiveJob, stamp
from stack.services import wait_until

VICTIM = "taskmanager-1"


class Recovery(NamedTuple):
    """Seconds from the kill: until Flink restored the job from a checkpoint, until the first element after that."""

    restored: float
    fresh: float


def recoveries(stack: Stack, count: int) -> Iterator[Recovery]:
    """Kills and waits, `count` times, on a running stack with one worker pool."""
    moves = stack.shape.taskmanagers > 1
    flags = [
        "--environment_type=EXTERNAL",
        f"--environment_config={stack.worker_endpoint()}",
        "--checkpointing_interval=1000",
        f"--parallelism={stack.shape.taskmanagers}",  # with two, each has a part, and the victim is never idle
    ]
    with LiveJob(stack, f"recovery-{stamp()}", flags) as job:
        if not job.wait_for_elements(2, 120):
            raise StackError(f"{job.name}: nothing came through in 120 s: see {job.log}")
        for _ in range(count):
            done = job.counts()["completed"]
            if not wait_until(lambda done=done: job.counts()["completed"] > done + 1, 60):  # type: ignore[misc]
                raise StackError(f"{job.name}: no checkpoint in 60 s")
            killed = time.time()
            stack.kill(VICTIM)
            if not moves:
                stack.restart(VICTIM)
            if not wait_until(lambda killed=killed: fresh_at(job, killed) is not None, 120):  # type: ignore[misc]
                raise StackError(f"{job.name}: not fresh 120 s after the kill")
            yield Recovery(restored_at(job) - killed, (fresh_at(job, killed) or 0.0) - killed)
            if moves:
                stack.restart(VICTIM)


def restored_at(job: LiveJob) -> float:
    """When the job was last restored (s); 0 when never."""
    found = job.found()
    latest = (job.stack.rest.checkpoints(found["jid"]).get("latest") or {}) if found else {}
    return (latest.get("restored") or {"restore_timestamp": 0})["restore_timestamp"] / 1000


def fresh_at(job: LiveJob, killed: float) -> float | None:
    """The first element after the restore that followed the kill. (Until Flink notices, other tasks go on.)"""
    restored = restored_at(job)
    return next((mark for mark in job.marks() if mark > restored), None) if restored > killed else None
