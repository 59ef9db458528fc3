"""`./run_local.sh stack launches`: the same live job many times in a row; how many never start?

A launch counts when elements have come through twice and a checkpoint has completed. Checkpoints come every 500 ms so
that one falls into the first bundle; the control (`--control`) leaves --finish_bundle_before_checkpointing out.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from stack.cluster import Stack
from stack.live_jobs import LiveJob, stamp

INTERVAL_MS = 500
HUNG_AFTER = 40
"""Checkpoints that complete while nothing comes through: then a launch hangs, however slow the machine is."""

PATIENCE = 180.0
"""Seconds after which it counts as hung whatever the checkpoints do."""


class Launch(NamedTuple):
    """`seconds` from the start of the launcher to the first element at the end of the job; None: it hung."""

    number: int
    seconds: float | None


def launches(stack: Stack, count: int, control: bool = False, patience: float = PATIENCE) -> Iterator[Launch]:
    """Launches one after the other, each ended before the next."""
    run = stamp()
    flags = ["--environment_type=LOOPBACK", f"--checkpointing_interval={INTERVAL_MS}"]
    flags += ["--checkpoint_during_bundle"] if control else []
    for number in range(1, count + 1):
        started = time.time()
        with LiveJob(stack, f"launch-{run}-{number}", flags) as job:
            live = False
            deadline = time.monotonic() + patience
            while not live and time.monotonic() < deadline and job.counts().get("completed", 0) < HUNG_AFTER:
                live = job.wait_for_elements(2, 1.0) and job.counts().get("completed", 0) > 0
            yield Launch(number, job.marks()[0] - started if live else None)
