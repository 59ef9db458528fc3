"""Runs of live jobs for the benchmarks: jobs and ticks for the length of a `with`, whether lanes have read all, cores in use, medians."""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.broker import read
from payments.topics import INFLIGHT
from pipelines.live_job import Launching, LiveJob
from pipelines.payments_ticker import run_ticker
from pipelines.topics import METRICS
from transforms.fold import Topic
from transforms.kafka_settings import KafkaSettings

METRICS_TOPIC = Topic(METRICS.name, METRICS.partitions)
_TICK = os.sysconf("SC_CLK_TCK")
_START_S = 120


@contextmanager
def running(
    stack: Any, how: Launching, settings: KafkaSettings, launches: Sequence[Sequence[str]], ticked: Sequence[Topic]
) -> Iterator[list[LiveJob]]:
    """Jobs, each launched as (module, flags …), and a ticker."""
    stop = threading.Event()
    ticker = threading.Thread(target=run_ticker, args=(settings, 1.0, stop, print, ticked), daemon=True)
    ticker.start()
    jobs: list[LiveJob] = []
    try:
        for module, *flags in launches:
            jobs.append(LiveJob(stack, how, module, *flags))
            time.sleep(0.01)  # their names are times
        yield jobs
    finally:
        stop.set()
        ticker.join()
        for job in jobs:
            job.close()


def await_lanes(bootstrap: str, jobs: Sequence[LiveJob], lanes: int, at: list[int]) -> None:
    """Returns when so many lanes have reported, on rails.metrics from the offsets `at` on, that they have read all there is."""
    end = time.monotonic() + _START_S
    while True:
        for job in jobs:
            job.check()
        lines = (json.loads(value) for _, _, value in read(bootstrap, METRICS.name, METRICS.partitions, at))
        lags = {(line["stage"], line["lane"]): line["lag"] for line in lines}
        if len(lags) >= lanes and max(lags.values()) <= INFLIGHT.partitions:  # a round of ticks
            return
        if time.monotonic() > end:
            raise SystemExit(f"the job did not start: see {jobs[0].log}")
        time.sleep(1)


def slots_of(lanes: int, taskmanagers: int, groups: Sequence[str]) -> int:
    """Slots that each TaskManager needs for a job per group of stages, for one where there are no groups."""
    return -(-lanes // taskmanagers) * max(1, len(groups))


def flags_of(variant: str) -> list[str]:
    """The flags of a job for a variant: knobs (PART.NAME=VALUE) and flags, by spaces."""
    return [word if word.startswith("--") else f"--knob={word}" for word in variant.split()]


def cpu_seconds(stack: Any) -> dict[str, float]:
    """CPU time so far of each service with its children."""
    found = {}
    for name, service in stack.services.items():
        total = 0.0
        for known in service.process.family():
            try:
                fields = Path(f"/proc/{known.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += (int(fields[11]) + int(fields[12])) / _TICK
        found[name] = total
    return found


def cores_used(before: dict[str, float], after: dict[str, float], seconds: float) -> dict[str, float]:
    """On the average, between two looks at `cpu_seconds`."""
    return {name: round((after[name] - before[name]) / seconds, 2) for name in after}


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the runs of one variant have in common, and the medians of what was measured."""
    first = {name: value for name, value in runs[0].items() if name not in ("run", "cpu")}
    figures = {name: median(run[name] for run in runs) for name, value in first.items() if not isinstance(value, str)}
    cpu = {name: median(run["cpu"][name] for run in runs) for name in runs[0]["cpu"]}
    return {**first, **figures, "cpu": cpu, "runs": len(runs)}
