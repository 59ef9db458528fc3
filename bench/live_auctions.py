"""Auctions live on a real Flink cluster: the highest rate of bids, decisions at a rate, and many auctions that end at once.

Item and bid validation and the house, as `auctions_live` runs them; where money stands behind bids, admission, account processor, watchdog
and the answers about money too. All times are the broker's append times. Broker, cluster, workers and clients share this machine.

    rate, rate_money        bids per second of a backlog, from its first decision to its last; and from the first bid that is validated,
                            for validation may be far ahead of the first decision
    latency, latency_money  ms from a bid on auction.bids to its decision on auction.bids.history, at --rate bids a second
    end                     seconds from the first tick past the end of --ending auctions to the last outcome

    python -m bench.live_auctions --runs 3 --results live_auctions             # everything; rows of bench/results/live_auctions.json
    python -m bench.live_auctions --measure rate --bids 200000 --runs 3
    python -m bench.live_auctions --measure latency_money --only Items,Bids,House Admission,Accounts,Watchdog,Funds

prints one line of JSON per run, then a table. Each bid must have one decision, whatever was written twice, and most must be accepted.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from auctions import topics
from bench import auction_load
from bench.broker import read, read_records
from bench.live_load import append, ends_of, shares_of
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
from bench.run import Row, machine, table
from payments import topics as payment_topics
from payments.live_stages import TICKED
from pipelines.auction_jobs import kind_of, topics_of
from pipelines.auction_stages import TICKED as OF_AUCTIONS
from pipelines.live_job import Launching, LiveJob
from pipelines.live_writer import Line
from pipelines.topics import METRICS, PLATFORM, make_topics
from schemas.auctions import BidPlaced, BidReceived
from transforms.fold import Topic
from transforms.kafka_settings import kafka_settings
from transforms.kafka_topics import KafkaTopics
from transforms.snapshots import SnapshotStore
from transforms.topic_settings import DAY_MS

BIDDING = ("Items", "Bids", "House")
MONEY = ("Admission", "Accounts", "Watchdog", "Funds")
_LEAD_S = 5  # of a paced run, before what is measured
_QUIET_S = 2.0
_LOOK_S = 0.3
_SOON_SAVED = ("--snapshot_s=1", "--knob=lane.stay_ms=200")  # a snapshot a turn: of launches that are not measured

Found = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """What is measured, at which operating point. floors: by figure; of times the most that is allowed."""

    kind: str
    backed: bool
    point: str
    floors: dict[str, float]

    @property
    def stages(self) -> tuple[str, ...]:
        return (*MONEY, *BIDDING) if self.backed else BIDDING


# Money behind bids takes all the time that the machine has, and then fuller fetches are what is faster.
MEASURES = {
    "rate": Measure("rate", False, "throughput", {"per_s": 15_000}),
    "rate_money": Measure("rate", True, "throughput", {"per_s": 4_000}),
    "latency": Measure("latency", False, "latency", {"p50": 60, "p99": 200}),
    "latency_money": Measure("latency", True, "throughput", {"p50": 150, "p99": 500}),
    "end": Measure("end", False, "latency", {"seconds": 5}),
}


class Bench:
    """A stack that runs, its topics, and launches on it, one after another. Each run has auctions of its own."""

    def __init__(self, stack: Any, own: argparse.Namespace) -> None:
        self.stack, self.own, self.bootstrap = stack, own, stack.bootstrap
        self.settings = kafka_settings(self.bootstrap)
        backed = any(MEASURES[name].backed for name in own.measure)
        self.stages = (*MONEY, *BIDDING) if backed else BIDDING
        needed = {METRICS.name, *topics_of(self.stages)}
        make_topics(self.settings, table=[topic for topic in PLATFORM if topic.name in needed])
        self.people = auction_load.people(own.bidders)
        self.history, self.outcomes = auction_load.Once(topics.HISTORY), auction_load.Once(topics.OUTCOMES)
        self.markets = self.loads = 0
        self.backlogs: list[tuple[bool, list[str]]] = []

    # --- launches ---

    @contextmanager
    def launched(self, groups: Sequence[Sequence[str]], point: str, flags: Sequence[str]) -> Iterator["Launch"]:
        """A job for each group of stages, and ticks for those that need them. At its end all is read, and saved."""
        stages = [name for group in groups for name in group]
        read_by = {kind_of(name).topic for name in stages}
        ticked = [topic for topic in (*TICKED, *OF_AUCTIONS) if topic in read_by]
        launches = [
            ("pipelines.auctions_live", f"--only={','.join(group)}", *flags, *self.own.flag) for group in groups
        ]
        how = Launching(self.bootstrap, lanes=self.own.lanes, point=point)
        with running(self.stack, how, self.settings, launches, ticked) as jobs:
            launch = Launch(self.bootstrap, jobs, len(stages) * self.own.lanes)
            yield launch
            launch.await_lanes()
            self.await_snapshots(stages)

    def launch(self, measure: Measure, flags: Sequence[str]) -> AbstractContextManager["Launch"]:
        """As the command line says."""
        groups = [text.split(",") for text in self.own.only] or [measure.stages]
        return self.launched(groups, self.own.point or measure.point, flags)

    def await_snapshots(self, stages: Sequence[str]) -> None:
        """Returns when a snapshot of every shard stands at what is the end now, so that the next launch repeats nothing."""
        kafka, store = KafkaTopics(self.settings), SnapshotStore(str(self.stack.folder / "live" / "snapshots"))
        try:
            kinds = [kind_of(name) for name in stages]
            ids = {kind.topic: kafka.info(kind.topic.name).id for kind in kinds}
            ends = {topic: ends_of(self.bootstrap, topic) for topic in ids}
            left = {
                (kind.stage, ids[kind.topic], number): end
                for kind in kinds
                for number, end in enumerate(ends[kind.topic])
            }
            self.wait(lambda: all([0, *store.offsets(*shard)][-1] >= end for shard, end in left.items()))
        finally:
            kafka.close()

    def wait(self, holds: Callable[[], bool], jobs: Sequence[LiveJob] = ()) -> None:
        """Looks until it holds."""
        end = time.monotonic() + self.own.patience_s
        while not holds():
            for job in jobs:
                job.check()
            if time.monotonic() > end:
                raise SystemExit(f"not done within {self.own.patience_s} s: see {self.stack.folder}")
            time.sleep(_LOOK_S)

    def count(self, topic: Topic) -> int:
        return sum(ends_of(self.bootstrap, topic))

    def await_records(self, topic: Topic, count: int, jobs: Sequence[LiveJob]) -> tuple[dict[str, float], float]:
        """Returns when the topic has so many records, and gets no more; CPU times then, and when that was."""
        last, since, cpu = -1, time.monotonic(), cpu_seconds(self.stack)

        def quiet() -> bool:
            nonlocal last, since, cpu
            now = self.count(topic)
            if now != last:
                last, since, cpu = now, time.monotonic(), cpu_seconds(self.stack)
            return now >= count and time.monotonic() - since > _QUIET_S

        self.wait(quiet, jobs)
        return cpu, since

    # --- markets ---

    def prepare(self, backlogs: Sequence[tuple[bool, int]]) -> None:
        """Lists the auctions of so many backlogs, (backed, bids) each, for they must be on the log before the bids are; opens accounts."""
        now = int(time.time() * 1000)
        self.backlogs = [(backed, self.names(self._auctions(backed, bids))) for backed, bids in backlogs]
        listed = [
            line
            for backed, names in self.backlogs
            for line in auction_load.items(names, now - 1000, now + DAY_MS, backed)
        ]
        start = self.count(topics.HISTORY)
        with self.launched([self.stages], "throughput", _SOON_SAVED) as launch:
            append(self.bootstrap, listed)
            if self.stages != BIDDING:
                paid = self.count(payment_topics.CONFIRMED)
                append(self.bootstrap, auction_load.accounts(self.people, now))
                append(self.bootstrap, auction_load.deposits(self.people, now))
                self.await_records(payment_topics.CONFIRMED, paid + len(self.people), launch.jobs)
            self.await_records(topics.HISTORY, start + len(listed), launch.jobs)

    def names(self, auctions: int) -> list[str]:
        """Of new auctions."""
        self.markets += 1
        return [f"x{self.markets}-{number}" for number in range(auctions)]

    def _auctions(self, backed: bool, bids: int) -> int:
        """Where money is asked for, bids on one auction must not come so fast that they overtake each other."""
        return max(1, bids // (self.own.backed_each if backed else self.own.each))

    def load(self, names: Sequence[str], bids: int) -> dict[str, Line]:
        """Bids on these auctions, by their ids."""
        self.loads += 1
        return auction_load.bids(names, self.people, bids, int(time.time() * 1000), self.loads)

    def decided(self, placed: Sequence[str]) -> tuple[list[auction_load.Decided], float]:
        """What was decided since the last call, and the share that was accepted: of exactly these bids."""
        records = self.history.new(read_records(self.bootstrap, topics.HISTORY.name, self.history.starts))
        found = auction_load.decisions(records)
        return found, auction_load.accepted_share(placed, found)

    # --- what is measured ---

    def measure(self, measure: Measure, flags: Sequence[str]) -> Found:
        if measure.kind == "rate":
            return self.rate(measure, flags, self.own.backed_bids if measure.backed else self.own.bids)
        return self.latency(measure, flags) if measure.kind == "latency" else self.end(measure, flags)

    def rate(self, measure: Measure, flags: Sequence[str], bids: int) -> Found:
        """Bids per second of a backlog."""
        place = next(n for n, (backed, _) in enumerate(self.backlogs) if backed == measure.backed)
        load, start = self.load(self.backlogs.pop(place)[1], bids), self.count(topics.HISTORY)
        log = ends_of(self.bootstrap, topics.LOG)
        append(self.bootstrap, load.values())
        with self.launch(measure, flags) as launch:
            self.wait(lambda: self.count(topics.HISTORY) > start, launch.jobs)
            before, began = cpu_seconds(self.stack), time.monotonic()
            after, ended = self.await_records(topics.HISTORY, start + bids, launch.jobs)
        found, accepted = self.decided(list(load))
        times = [one.at for one in found]
        handed = auction_load.times_of(read(self.bootstrap, topics.LOG.name, topics.LOG.partitions, log), BidReceived)
        seconds, whole = (max(times) - min(times)) / 1000, (max(times) - min(handed.values())) / 1000
        rates = {"per_s": round(bids / seconds), "seconds": seconds, "whole_per_s": round(bids / whole)}
        cpu = cores_used(before, after, ended - began)
        return {"bids": bids, **rates, "accepted": accepted, "cpu": cpu}

    def latency(self, measure: Measure, flags: Sequence[str]) -> Found:
        """Of the bids after the first five seconds."""
        rate, lead = self.own.rate, self.own.rate * _LEAD_S
        bids, now, listed = lead + rate * self.own.seconds, int(time.time() * 1000), self.count(topics.HISTORY)
        names = self.names(self._auctions(measure.backed, bids))
        load = self.load(names, bids)
        lines = list(load.values())
        with self.launch(measure, flags) as launch:
            append(self.bootstrap, auction_load.items(names, now - 1000, now + DAY_MS, measure.backed))
            self.await_records(topics.HISTORY, listed + len(names), launch.jobs)
            launch.await_lanes()
            start = self.count(topics.HISTORY)
            append(self.bootstrap, lines[:lead], rate)
            starts, before, began = ends_of(self.bootstrap, topics.BIDS), cpu_seconds(self.stack), time.monotonic()
            append(self.bootstrap, lines[lead:], rate)
            after, took = cpu_seconds(self.stack), time.monotonic() - began
            self.await_records(topics.HISTORY, start + bids, launch.jobs)
        placed = read(self.bootstrap, topics.BIDS.name, topics.BIDS.partitions, starts)
        came = auction_load.times_of(placed, BidPlaced)
        found, accepted = self.decided(list(load))
        times = [one.at - came[one.bid_id] for one in found if one.bid_id in came]
        figures = {**shares_of(times), "most": max(times), "accepted": accepted, "cpu": cores_used(before, after, took)}
        return {"rate": rate, "bids": len(times), **figures}

    def end(self, measure: Measure, flags: Sequence[str]) -> Found:
        """Auctions with three bids each that end at once."""
        count = self.own.ending
        names = self.names(count)
        with self.launch(measure, flags) as launch:
            launch.await_lanes()
            listed, over = self.count(topics.HISTORY), self.count(topics.OUTCOMES)
            now = int(time.time() * 1000)
            ends = now + self.own.lead_s * 1000
            append(self.bootstrap, auction_load.items(names, now - 1000, ends, measure.backed))
            # Of each the item, and that it is ending soon.
            self.wait(lambda: self.count(topics.HISTORY) >= listed + 2 * count, launch.jobs)
            load, starts = self.load(names, 3 * count), ends_of(self.bootstrap, topics.BIDS)
            append(self.bootstrap, load.values())
            self.wait(lambda: self.count(topics.HISTORY) >= listed + 5 * count, launch.jobs)
            launch.await_lanes()
            early = ends / 1000 - time.time()
            if early < 1:
                raise SystemExit(f"the bids were not decided within {self.own.lead_s} s: give them more with --lead_s")
            time.sleep(early)
            before, began = cpu_seconds(self.stack), time.monotonic()
            after, ended = self.await_records(topics.OUTCOMES, over + 2 * count, launch.jobs)
        _, accepted = self.decided(list(load))
        tick = auction_load.first_tick(read(self.bootstrap, topics.BIDS.name, topics.BIDS.partitions, starts), ends)
        records = self.outcomes.new(read_records(self.bootstrap, topics.OUTCOMES.name, self.outcomes.starts))
        times = auction_load.outcomes(records)
        if times.keys() != set(names) or min(times.values()) < ends:
            raise SystemExit(
                f"{len(times)} of {count} auctions have ended, the first {min(times.values()) - ends} ms after the end"
            )
        cpu = cores_used(before, after, ended - began)
        return {"ending": count, "seconds": (max(times.values()) - tick) / 1000, "accepted": accepted, "cpu": cpu}


class Launch(NamedTuple):
    """Jobs that run, and how many lanes they have together."""

    bootstrap: str
    jobs: list[LiveJob]
    lanes: int

    def await_lanes(self) -> None:
        """Returns when all have read all there is."""
        await_lanes(self.bootstrap, self.jobs, self.lanes, ends_of(self.bootstrap, METRICS_TOPIC))


def backlogs_of(own: argparse.Namespace) -> tuple[list[tuple[bool, int]], list[tuple[bool, int]]]:
    """(whether money is asked for, number of bids) of each backlog, those that come first and are not counted, and the others."""
    measures = [MEASURES[name] for name in own.measure]
    kinds = dict.fromkeys(measure.backed for measure in measures)
    warm = [(backed, own.warm // 5 if backed else own.warm) for backed in kinds if own.warm]
    rounds = own.runs * max(1, len(own.variant))
    counted = [(one.backed, own.backed_bids if one.backed else own.bids) for one in measures if one.kind == "rate"]
    return warm, [one for one in counted for _ in range(rounds)]


# --- rows ---


def rows_of(runs: Sequence[Found]) -> list[Row]:
    """A row for each figure of each measure and variant, the median of its runs."""
    rows: list[Row] = []
    for name, variant in dict.fromkeys((run["measure"], run["variant"]) for run in runs):
        those = [run for run in runs if (run["measure"], run["variant"]) == (name, variant)]
        medians, measure = median_of(those), MEASURES[name]
        for figure, title, unit in _figures(measure, medians):
            floor = measure.floors.get(figure) if _is_usual(measure, medians) else None
            rows.append(
                {"name": f"{title} [{variant}]" if variant else title, "unit": unit, "value": medians[figure]}
                | {"baseline": None, "ratio": None, "floor": floor, "aim": None, "floor_is": "value"}
                | {"cpu": medians["cpu"], "runs": those}
            )
    return rows


def _figures(measure: Measure, medians: Found) -> list[tuple[str, str, str]]:
    """(figure, name of its row, unit)."""
    money = "money behind them" if measure.backed else "no money behind them"
    if measure.kind == "rate":
        decided = f"bids decided live, {money}"
        return [("per_s", decided, "bids/s"), ("whole_per_s", f"{decided}, from the first that is validated", "bids/s")]
    if measure.kind == "latency":
        what = f"decision of a bid live, {medians['rate']:,.0f} a second, {money}"
        return [(share, f"{what}, {share}, at most", "ms") for share in ("p50", "p95", "p99")]
    return [
        (
            "seconds",
            f"{medians['ending']:,.0f} auctions that end at once, until all outcomes are appended, at most",
            "s",
        )
    ]


def _is_usual(measure: Measure, medians: Found) -> bool:
    """Whether the floors are meant for it."""
    return {"latency": medians.get("rate") == 1000, "end": medians.get("ending") == 10_000}.get(measure.kind, True)


def merged(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """The rows of a file, those that were measured again in the place of the old ones."""
    by_name = {row["name"]: row for row in (*old, *new)}
    return list(by_name.values())


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one JSON line per run."""
    from stack import tools
    from stack.cluster import Stack

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--bids", type=int, default=100_000, help="of a backlog, no money behind them")
    parser.add_argument("--backed_bids", type=int, default=20_000, help="of a backlog, money behind them")
    parser.add_argument("--each", type=int, default=100, help="bids on an auction")
    parser.add_argument("--backed_each", type=int, default=5, help="the same, money behind them")
    parser.add_argument("--rate", type=int, default=1000, help="of latencies: bids per second")
    parser.add_argument("--seconds", type=int, default=30, help="of latencies: how long")
    parser.add_argument("--ending", type=int, default=10_000, help="auctions that end at once")
    parser.add_argument("--lead_s", type=int, default=45, help="how long these are open")
    parser.add_argument("--bidders", type=int, default=1000)
    parser.add_argument(
        "--warm", type=int, default=100_000, help="bids of a backlog before all else; a fifth where money is asked for"
    )
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--point", default="", help="if none is named throughput for rates and money, latency for all else")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="STAGES", help="by commas; each group is a job, in workers of its own"
    )
    parser.add_argument(
        "--variant", action="append", default=[], help="knobs (PART.NAME=VALUE) and flags of a run; several take turns"
    )
    parser.add_argument("--flag", action="append", default=[], help="more flags of all jobs")
    parser.add_argument("--taskmanagers", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1, help="the medians count")
    parser.add_argument("--results", default="", help="put the rows into bench/results/NAME.json")
    parser.add_argument("--port", type=int, default=23_000, help="base of 100 ports")
    parser.add_argument("--folder", default="")
    parser.add_argument("--patience_s", type=int, default=180)
    own = parser.parse_args(argv)
    os.environ.setdefault(tools.JVM_VARIABLE, "")  # what is measured is a system that has run for a while
    folder = Path(own.folder or tempfile.mkdtemp(prefix="live-auctions-"))
    slots = slots_of(own.lanes, own.taskmanagers, own.only)
    runs = []
    warm, backlogs = backlogs_of(own)
    with Stack(folder, own.port, own.taskmanagers, slots, own.taskmanagers, ("kafka", "flink", "jobserver")) as stack:
        bench = Bench(stack, own)
        bench.prepare([*warm, *backlogs])
        for backed, bids in warm:  # broker and cluster compile what is hot
            bench.rate(MEASURES["rate_money" if backed else "rate"], _SOON_SAVED, bids)
        for name in own.measure:
            for number in range(own.runs):
                for variant in own.variant or [""]:
                    found = bench.measure(MEASURES[name], flags_of(variant))
                    runs.append({"measure": name, "run": number, "lanes": own.lanes, "variant": variant, **found})
                    print(json.dumps(runs[-1]), flush=True)
    rows = rows_of(runs)
    print(table(rows))
    if own.results:
        path, facts = Path(__file__).parent / "results" / f"{own.results}.json", machine()
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        new = merged(old, [{**row, "machine": facts} for row in rows])
        path.write_text(json.dumps(new, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
