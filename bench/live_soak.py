"""Payments live at a steady rate for long: memory and threads of every process, and checkpoints; what stays flat, what grows.

The stages remember payment ids for a day, and credits for the 90 days in which they may be reversed, so half an hour of their rules shows
growth and no end of it. Here they remember both for --remember_s, which fills within the warm-up: from then on nothing has a reason to
grow. With 0 they have their own rules.

    python -m bench.live_soak --rate 2400 --minutes 30

prints a line a minute and writes bench/results/live_soak.json (medians of the first and the last fifth after a third of warming up) and
live_soak.svg.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.live_load import append, ends_of, stream
from bench.live_payments import Bench
from bench.live_runs import METRICS_TOPIC, await_lanes, cores_used, cpu_seconds, slots_of
from bench.run import machine
from payments import topics
from payments.live_stages import KINDS
from pipelines.live_job import LiveJob
from stack.footprint import total
from stack.growth import ends

RESULTS = Path(__file__).parent / "results" / "live_soak.json"
EVERY_S = 10.0
_PLACES = frozenset(("second", "confirmed"))  # where a sample stands; the others are figures

Sample = dict[str, float]


def newest_bytes(folder: Path) -> int:
    """The size of the newest snapshot of every shard, `<stage>/<shard>/<offset>.snapshot`: the state as it is kept."""
    newest: dict[Path, Path] = {}
    for path in sorted(folder.glob("*/*/*.snapshot")):  # in the order of their offsets
        newest[path.parent] = path
    return sum(path.stat().st_size for path in newest.values())


def look(stack: Any, job: LiveJob, snapshots: Path) -> Sample:
    """One sample: MB and threads by service with its children, the newest checkpoint, the newest snapshots, what is confirmed."""
    sample: Sample = {}
    for name, service in stack.services.items():
        threads, memory = total(known.pid for known in service.process.family())
        sample[f"{name} threads"], sample[f"{name} MB"] = threads, round(memory, 1)
    found = job.found()
    sample["checkpoint kB"] = stack.rest.checkpoint_bytes(found["jid"]) / 1000 if found else 0.0
    sample["snapshots MB"] = round(newest_bytes(snapshots) / 1e6, 2)
    sample["confirmed"] = sum(ends_of(stack.bootstrap, topics.CONFIRMED))
    return sample


def growth_of(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """By column: medians of the first and the last fifth, of what comes after a third of warming up."""
    settled = samples[len(samples) // 3 :]
    found = {}
    for name in (name for name in settled[0] if name not in _PLACES):
        first, last = ends([sample[name] for sample in settled], 5)
        found[name] = {"first": first, "last": last, "growth": round(last - first, 2)}
    return found


def plot(samples: Sequence[Sample], path: Path) -> None:
    """Every column over the minutes, as SVG."""
    import vl_convert

    values = [
        {"minute": sample["second"] / 60, "what": name, "value": value}
        for sample in samples
        for name, value in sample.items()
        if name not in _PLACES
    ]
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": values},
        "facet": {"field": "what", "type": "nominal", "title": None},
        "columns": 3,
        "resolve": {"scale": {"y": "independent"}},
        "spec": {
            "width": 260,
            "height": 120,
            "mark": "line",
            "encoding": {
                "x": {"field": "minute", "type": "quantitative"},
                "y": {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": True}},
            },
        },
    }
    path.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")


def soak(stack: Any, own: argparse.Namespace) -> dict[str, Any]:
    """Runs the load, takes the samples."""
    bench = Bench(stack, own)
    samples: list[Sample] = []
    over = threading.Event()
    seconds = round(own.minutes * 60)
    rules = [f"--{name}={own.remember_s * 1000}" for name in ("ttl_ms", "reversal_ms") if own.remember_s]

    with bench.job(rules) as job:
        await_lanes(stack.bootstrap, [job], len(KINDS) * own.lanes, ends_of(stack.bootstrap, METRICS_TOPIC))
        began, before = time.monotonic(), cpu_seconds(stack)

        def watch() -> None:
            while not over.wait(max(0.0, began + len(samples) * EVERY_S - time.monotonic())):
                found = look(stack, job, stack.folder / "live" / "snapshots")
                samples.append({"second": round(time.monotonic() - began, 1), **found})
                if len(samples) % 6 == 1:
                    print(json.dumps(samples[-1]), flush=True)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            took = append(stack.bootstrap, stream(own.rate * seconds, own.accounts, own.rate), own.rate)
        finally:
            over.set()
            watcher.join()
        job.check()
        after = cpu_seconds(stack)
    confirmed = samples[-1]["confirmed"] - samples[0]["confirmed"]
    return {
        "rate": own.rate,
        "lanes": own.lanes,
        "remember_s": own.remember_s,
        "seconds": round(took),
        "confirmed": round(confirmed),
        "cpu": cores_used(before, after, took),
        "growth": growth_of(samples),
        "samples": samples,
    }


def main(argv: Sequence[str] | None = None) -> None:
    from stack import tools
    from stack.cluster import Stack

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=2400, help="records per second")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--remember_s", type=int, default=120, help="how long ids and credits are remembered, s")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--point", default="throughput")
    parser.add_argument("--flag", action="append", default=[], help="more flags of the job")
    parser.add_argument("--only", nargs="+", default=[], metavar="STAGES", help="by commas; each group is a job")
    parser.add_argument("--port", type=int, default=23_000)
    parser.add_argument("--folder", default="")
    own = parser.parse_args(argv)
    os.environ.setdefault(tools.JVM_VARIABLE, "")
    folder = Path(own.folder or tempfile.mkdtemp(prefix="live-soak-"))
    with Stack(folder, own.port, 1, slots_of(own.lanes, 1, own.only), 1, ("kafka", "flink", "jobserver")) as stack:
        found = soak(stack, own)
    RESULTS.write_text(json.dumps({"machine": machine(), **found}, indent=1) + "\n", encoding="utf-8")
    plot(found["samples"], RESULTS.with_suffix(".svg"))
    for name, growth in found["growth"].items():
        print(f"{name:<28} {growth['first']:>12,.1f} -> {growth['last']:>12,.1f}")
    print(json.dumps({name: value for name, value in found.items() if name not in ("samples", "growth")}))


if __name__ == "__main__":
    main(sys.argv[1:])
