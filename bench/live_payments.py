"""Payments live on a real Flink cluster: the highest rate, latencies at a rate, and what each knob does to them.

Admission, account processor and watchdog, with journal, statuses, balances and confirmations written, ticks coming and metrics told, as
`payments_live` runs them. Times are the broker's append times: latency from payments.incoming to payments.confirmed; the highest rate is
that of a backlog, from the first append after the launch to the last confirmation. Broker, cluster, workers and clients share this machine.

    python -m bench.live_payments --rate 1000 --seconds 40        # latencies
    python -m bench.live_payments --rate 0 --payments 200000      # the highest rate
    python -m bench.live_payments --rate 1000 --variant "" --variant "write.linger_ms=5 lane.lease_ms=0" --runs 3

prints one line of JSON per run; all of them on one stack, below --folder.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.broker import rate as rate_of
from bench.live_load import Load, append, await_steady, ends_of, first_times, make_load, shares_of
from bench.live_runs import (
    METRICS_TOPIC,
    await_lanes,
    cores_used,
    cpu_seconds,
    flags_of,
    median_of,
    running,
    slots_of,
)
from bench.run import machine
from payments import topics
from payments.live_stages import KINDS, TICKED
from pipelines.live_job import Launching, LiveJob
from pipelines.live_stages import NAMES
from pipelines.topics import make_topics
from transforms.fold import Topic
from transforms.kafka_settings import kafka_settings


class Bench:
    """A stack that runs, its payment topics, and launches of the job on it, one after another."""

    def __init__(self, stack: Any, own: argparse.Namespace) -> None:
        self.stack, self.own, self.bootstrap = stack, own, stack.bootstrap
        self.how = Launching(stack.bootstrap, lanes=own.lanes, point=own.point)
        self.settings = kafka_settings(stack.bootstrap)
        make_topics(self.settings)
        self.seed = 100

    @contextmanager
    def job(self, flags: Sequence[str]) -> Iterator[LiveJob]:
        """The job, or several, and a ticker, for the length of a `with`."""
        groups = self.own.only or [",".join(NAMES)]
        launches = [("pipelines.payments_live", f"--only={group}", *flags, *self.own.flag) for group in groups]
        with running(self.stack, self.how, self.settings, launches, TICKED) as jobs:
            yield jobs[0]

    def load(self, payments: int, rate: int) -> Load:
        """New payments of accounts of their own; the accounts are open when it returns."""
        self.seed += 1
        load = make_load(payments, self.own.accounts, rate, self.seed)
        append(self.bootstrap, load.before)
        return load

    def starts(self) -> dict[Topic, list[int]]:
        """The ends of the topics now, where what comes will begin."""
        return {topic: ends_of(self.bootstrap, topic) for topic in (topics.INCOMING, topics.STATUS, topics.CONFIRMED)}

    def settle(self) -> None:
        """Returns when nothing is confirmed any more."""
        await_steady(lambda: sum(ends_of(self.bootstrap, topics.CONFIRMED)), 2, self.own.patience_s)

    def at_rate(self, rate: int, flags: Sequence[str]) -> dict[str, Any]:
        """Latencies of the payments after the first five seconds."""
        load = self.load(rate * (self.own.seconds + 5), rate)
        with self.job(flags) as job:
            await_lanes(self.bootstrap, [job], len(KINDS) * self.own.lanes, ends_of(self.bootstrap, METRICS_TOPIC))
            append(self.bootstrap, load.payments[: rate * 5], rate)
            starts, before, began = self.starts(), cpu_seconds(self.stack), time.monotonic()
            append(self.bootstrap, load.payments[rate * 5 :], rate)
            after, took = cpu_seconds(self.stack), time.monotonic() - began
            self.settle()
        came = first_times(self.bootstrap, topics.INCOMING, starts[topics.INCOMING])
        done = first_times(self.bootstrap, topics.CONFIRMED, starts[topics.CONFIRMED])
        found = [at - came[key] for key, at in done.items() if key in came]
        return {"rate": rate, "confirmed": len(found), **shares_of(found), "cpu": cores_used(before, after, took)}

    def backlog(self, payments: int, flags: Sequence[str]) -> dict[str, Any]:
        """The rate of a backlog: all payments over the time from the first status to the last confirmation, and that of the confirmations
        between their first and last tenth, for the last ones wait behind a gate while nothing else is left."""
        load, starts = self.load(payments, 10_000), self.starts()
        append(self.bootstrap, load.payments)
        before, began = cpu_seconds(self.stack), time.monotonic()
        with self.job(flags) as job:
            while sum(ends_of(self.bootstrap, topics.CONFIRMED)) == sum(starts[topics.CONFIRMED]):
                job.check()
                time.sleep(0.2)
            self.settle()
            after, took = cpu_seconds(self.stack), time.monotonic() - began
        first = min(first_times(self.bootstrap, topics.STATUS, starts[topics.STATUS]).values())
        done = first_times(self.bootstrap, topics.CONFIRMED, starts[topics.CONFIRMED]).values()
        seconds = (max(done) - first) / 1000
        middle, _ = rate_of(list(done))
        rates = {"per_s": round(payments / seconds), "middle_per_s": round(middle)}
        return {**rates, "seconds": seconds, "cpu": cores_used(before, after, took)}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one JSON line per run."""
    from stack import tools
    from stack.cluster import Stack

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1000, help="payments per second; 0: a backlog, as fast as it goes")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--warm", type=int, default=40_000, help="payments of a backlog before all else")
    parser.add_argument("--payments", type=int, default=100_000, help="of the backlog")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--point", default="latency")
    parser.add_argument(
        "--variant", action="append", default=[], help="knobs (PART.NAME=VALUE) and flags of a run; several take turns"
    )
    parser.add_argument("--flag", action="append", default=[], help="more flags of the job")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="STAGES", help="by commas; each group is a job, in workers of its own"
    )
    parser.add_argument("--taskmanagers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--results", default="", help="write bench/results/NAME.json")
    parser.add_argument("--port", type=int, default=23_000)
    parser.add_argument("--folder", default="")
    parser.add_argument("--patience_s", type=int, default=300)
    own = parser.parse_args(argv)
    os.environ.setdefault(tools.JVM_VARIABLE, "")  # what is measured is a system that has run for a while
    folder = Path(own.folder or tempfile.mkdtemp(prefix="live-payments-"))
    kinds, slots = ("kafka", "flink", "jobserver"), slots_of(own.lanes, own.taskmanagers, own.only)
    with Stack(folder, own.port, own.taskmanagers, slots, own.taskmanagers, kinds) as stack:
        bench = Bench(stack, own)
        if own.warm:
            bench.backlog(own.warm, [])  # broker and cluster compile what is hot
        runs = []
        for number in range(own.runs):
            for variant in own.variant or [""]:
                flags = flags_of(variant)
                found = bench.at_rate(own.rate, flags) if own.rate else bench.backlog(own.payments, flags)
                runs.append({"run": number, "lanes": own.lanes, "point": own.point, "variant": variant, **found})
                print(json.dumps(runs[-1]), flush=True)
    medians = [median_of([run for run in runs if run["variant"] == variant]) for variant in own.variant or [""]]
    for line in medians:
        print(json.dumps(line))
    if own.results:
        path = Path(__file__).parent / "results" / f"{own.results}.json"
        path.write_text(json.dumps({"machine": machine(), "medians": medians, "runs": runs}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
