"""`./run_local.sh stack soak`: does a job that polls for ever stay as small as it began?

Runs `stack.poll_job` idle, then loaded, on a cluster of its own (ports 100 above the stack's), and takes a sample per
checkpoint: its size from Flink, threads and memory of the TaskManagers and of the Python workers from the kernel. Flat
means that the last fifth is no larger than the first, in medians. `--stock` runs the control: Beam's own checkpoint
handlers, whose state grows.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from stack.cluster import Stack
from stack.errors import StackError
from stack.live_jobs import LiveJob, stamp

PHASES = {"idle": 0.0, "loaded": 2000.0}
"""Elements per second and split; idle is one a poll."""

LANES, SPLITS = 2, 2
"""Two keys, under each two residuals that wait at once."""

EVERY_MS = 50
"""The delay asked for between two polls of a split; a residual is taken at the end of its bundle, 1 s by default."""


class Sample(NamedTuple):
    """One completed checkpoint, and what the processes were like when it was seen."""

    checkpoint: int
    state_bytes: int
    taskmanager_threads: int
    taskmanager_mb: float
    worker_threads: int
    worker_mb: float


class Growth(NamedTuple):
    """One column of the samples: medians of its first and last fifth, and how much more is still flat."""

    name: str
    first: float
    last: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether the end is no larger than the beginning, but for what is allowed."""
        return self.last <= self.first + self.allowed


ALLOWED = {
    # A poll that happens to wait twice takes one more slot: a cell of some hundred bytes each.
    "state_bytes": lambda first: 0.05 * first + 2000,
    "taskmanager_threads": lambda first: 8,
    "worker_threads": lambda first: 8,
    # The arenas of malloc settle within the first minutes.
    "worker_mb": lambda first: 0.05 * first + 10,
    # The heap grows to its limit (-Xmx) before the collector works in earnest: reported, and bounded by the settings.
    "taskmanager_mb": lambda first: 800,
}


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """How each column developed, after a warm-up of a tenth (at least three samples)."""
    settled = samples[max(3, len(samples) // 10) :]
    if len(settled) < 10:
        raise StackError(f"{len(samples)} checkpoints are too few to judge: take 20 or more")
    part = max(1, len(settled) // 5)
    found = []
    for name in Sample._fields[1:]:
        values = [float(getattr(sample, name)) for sample in settled]
        first = median(values[:part])
        found.append(Growth(name, first, median(values[-part:]), ALLOWED[name](first)))
    return found


def samples(stack: Stack, rate: float, checkpoints: int, interval_ms: int) -> Iterator[Sample]:
    """Runs the job on a running stack (with one worker pool) until so many checkpoints are complete."""
    flags = [
        "--environment_type=EXTERNAL",
        f"--environment_config={stack.worker_endpoint()}",
        f"--checkpointing_interval={interval_ms}",
        f"--rate={rate}",
        f"--lanes={LANES}",
        f"--splits={SPLITS}",
        f"--parallelism={stack.shape.taskmanagers}",
        f"--every_ms={EVERY_MS}",
    ]
    with LiveJob(stack, f"soak-{stamp()}", flags) as job:
        if not job.wait_for_elements(2, 120):
            raise StackError(f"{job.name}: nothing came through in 120 s: see {job.log}")
        seen = 0
        deadline = time.monotonic() + 60 + 5 * checkpoints * interval_ms / 1000
        while seen < checkpoints:
            if time.monotonic() > deadline:
                raise StackError(f"{job.name}: {seen} of {checkpoints} checkpoints when the time was over")
            workers = stack.worker_pool().workers()
            managers = [s.process.pid or 0 for name, s in stack.services.items() if name.startswith("taskmanager")]
            manager, worker = _total(managers), _total(workers)
            for number, size in sorted(job.checkpoints().items()):
                if seen < number <= checkpoints:
                    seen = number
                    yield Sample(number, size, *manager, *worker)
            time.sleep(min(0.5, interval_ms / 1000))


def _total(pids: Sequence[int]) -> tuple[int, float]:
    """Threads and memory (MB) of all of them together."""
    found = [footprint(pid) for pid in pids]
    return sum(threads for threads, _ in found), sum(memory for _, memory in found)


def footprint(pid: int) -> tuple[int, float]:
    """Threads and resident memory (MB) of a process; zeros when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0, 0.0
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(fields["Threads"]), int(fields["VmRSS"].split()[0]) / 1024


def soak(
    stack: Stack, checkpoints: int, interval_ms: int, say: Callable[[str], None], record: Path | None = None
) -> bool:
    """Both phases; prints what was measured, writes all samples to `record` (JSON lines). True when all is flat."""
    flat = True
    for phase, rate in PHASES.items():
        parts = f"{LANES} lanes of {SPLITS} splits"
        say(f"{phase}: {parts}, a poll every {EVERY_MS} ms, {rate:g}/s each, a checkpoint every {interval_ms} ms")
        taken = []
        for sample in samples(stack, rate, checkpoints, interval_ms):
            taken.append(sample)
            if record:
                with record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"phase": phase, "stock": stack.shape.stock, **sample._asdict()}) + "\n")
            if sample.checkpoint % max(1, checkpoints // 10) == 0:
                say("  " + ", ".join(f"{name} {value:,.0f}" for name, value in sample._asdict().items()))
        for growth in growths(taken):
            flat = flat and growth.flat
            verdict = "flat" if growth.flat else "GROWS"
            say(f"  {growth.name:<20} {growth.first:>12,.0f} -> {growth.last:>12,.0f}  {verdict}")
    return flat
