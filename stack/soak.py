"""`./run_local.sh stack soak`: does a job that polls for ever stay as small as it began?

Runs `stack.poll_job` idle, then loaded, on a cluster of its own (ports 100 above the stack's), and takes a sample per
checkpoint: its size from Flink, threads of the TaskManagers and of the Python workers and the workers' memory from the
kernel, and what the TaskManagers hold once their garbage is gone. Flat means that the last fifth is no larger than the
first, in medians, after a warm-up. `--control` goes on with Beam's own checkpoint handlers, whose state must be seen to grow.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from stack.cluster import Stack
from stack.errors import StackError
from stack.footprint import held_mb, total
from stack.growth import Growth, ends
from stack.live_jobs import LiveJob, stamp

PHASES = {"idle": 0.0, "loaded": 2000.0}
"""Elements per second and split; idle is one a poll."""

LANES, SPLITS = 2, 2
"""Two keys, under each two residuals that wait at once."""

EVERY_MS = 50
"""The delay asked for between two polls of a split; a residual is taken at the end of its bundle, 1 s by default."""

FEWEST = 20
"""Checkpoints of a phase that a verdict needs."""

COLLECTIONS = 60
"""Full collections of the TaskManagers' garbage in a phase: each stops them for a moment."""


class Sample(NamedTuple):
    """One completed checkpoint, and what the processes were like when it was seen, all TaskManagers and all workers together.

    taskmanager_mb: live objects and classes; between two collections as it was at the last.
    """

    checkpoint: int
    state_bytes: int
    taskmanager_threads: int
    taskmanager_mb: float
    worker_threads: int
    worker_mb: float


ALLOWED: dict[str, Callable[[float], float]] = {
    # A poll that happens to wait twice takes one more slot: a cell of some hundred bytes each.
    "state_bytes": lambda first: 0.05 * first + 2000,
    "taskmanager_threads": lambda first: 8,
    "worker_threads": lambda first: 8,
    # The arenas of malloc settle within the first minutes.
    "worker_mb": lambda first: 0.05 * first + 10,
    # Live objects move by what is on its way.
    "taskmanager_mb": lambda first: 4,
}
"""How much more is still flat: what samples of a job that does not grow differ by. Over 240 checkpoints 4 MB are 17 kB each."""


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """How each column developed, after a warm-up of a tenth (at least three samples)."""
    settled = _settled(samples)
    if len(samples) < FEWEST:
        raise StackError(f"{len(samples)} checkpoints are too few to judge: take {FEWEST} or more")
    found = []
    for name, allowed in ALLOWED.items():
        first, last = ends([float(getattr(sample, name)) for sample in settled], 5)
        found.append(Growth(name, first, last, allowed(first)))
    return found


def _settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[max(3, len(samples) // 10) :]


def samples(
    stack: Stack, rate: float, checkpoints: int, interval_ms: int, lanes: int = LANES
) -> Iterator[Sample]:
    """Runs the job on a running stack (with one worker pool) until so many checkpoints are complete."""
    flags = [
        "--environment_type=EXTERNAL",
        f"--environment_config={stack.worker_endpoint()}",
        f"--checkpointing_interval={interval_ms}",
        f"--rate={rate}",
        f"--lanes={lanes}",
        f"--splits={SPLITS}",
        f"--parallelism={stack.shape.taskmanagers}",
        f"--every_ms={EVERY_MS}",
    ]
    with LiveJob(stack, f"soak-{stamp()}", flags) as job:
        if not job.wait_for_elements(2, 120):
            raise StackError(f"{job.name}: nothing came through in 120 s: see {job.log}")
        seen, collected, held = 0, -checkpoints, 0.0
        deadline = time.monotonic() + 60 + 5 * checkpoints * interval_ms / 1000
        while seen < checkpoints:
            if time.monotonic() > deadline:
                raise StackError(f"{job.name}: {seen} of {checkpoints} checkpoints when the time was over")
            workers = stack.worker_pool().workers()
            managers = [s.process.pid or 0 for name, s in stack.services.items() if name.startswith("taskmanager")]
            if seen >= collected + checkpoints / COLLECTIONS:
                collected, held = seen, sum(filter(None, map(held_mb, managers)))
            threads, _ = total(managers)
            for number, size in sorted(job.checkpoints().items()):
                if seen < number <= checkpoints:
                    seen = number
                    yield Sample(number, size, threads, held, *total(workers))
            time.sleep(min(0.5, interval_ms / 1000))


def soak(
    stack: Stack,
    checkpoints: int,
    interval_ms: int,
    say: Callable[[str], None],
    lanes: int = LANES,
    record: Path | None = None,
) -> list[str]:
    """Both phases; says what was measured, writes all samples to `record` (JSON lines). What grew, as "phase column"."""
    grew = []
    for phase, rate in PHASES.items():
        whose = "Beam's handlers" if stack.shape.stock else "our handlers"
        parts = f"{lanes} lanes of {SPLITS} splits"
        say(f"{whose}, {phase}: {parts}, polled every {EVERY_MS} ms, {rate:g}/s each, a checkpoint every {interval_ms} ms")
        taken = []
        for sample in samples(stack, rate, checkpoints, interval_ms, lanes):
            taken.append(sample)
            if record:
                with record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"phase": phase, "stock": stack.shape.stock, **sample._asdict()}) + "\n")
            if sample.checkpoint % max(1, checkpoints // 10) == 0:
                say("  " + ", ".join(f"{name} {value:,.0f}" for name, value in sample._asdict().items()))
        count = len(_settled(taken))
        between = count - count // 5  # from the middle of the first fifth to that of the last
        for growth in growths(taken):
            grew += [] if growth.flat else [f"{phase} {growth.name}"]
            verdict = "flat" if growth.flat else "GROWS"
            each = (growth.last - growth.first) / between
            say(f"  {growth.name:<20} {growth.first:>12,.1f} -> {growth.last:>12,.1f}  {each:>+10,.3f} a checkpoint  {verdict}")
    return grew
