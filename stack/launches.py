"""`./run_local.sh stack launches`: the same live job many times in a row; how many never start?

A launch counts when elements have come through twice and a checkpoint has completed. Checkpoints come every 500 ms so
that one falls into the first bundle; the control (`--control`) leaves --finish_bundle_before_checkpointing out.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from stack.cluster import Stack
from stack.live_jobs import LiveJob, stamp
from stack.services import wait_until

INTERVAL_MS = 500
PATIENCE = 60.0
"""After this many seconds a launch counts as hung; one takes 8 to 20 s on two busy cores."""


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
            live = job.wait_for_elements(2, patience)
            live = live and wait_until(lambda job=job: job.counts().get("completed", 0) > 0, 10)  # type: ignore[misc]
            yield Launch(number, job.marks()[0] - started if live else None)
