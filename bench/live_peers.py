"""The card example live, ours beside what a Python user would pick instead: idiomatic Beam on the same cluster, Quix Streams, Bytewax.

In each run a broker of its own gets the deposits once, and one side after the other reads them from offset 0 and writes balances to a topic
of its own: Avro in and out, two workers each, the same compression, linger and batch size, each with the state store that it has by
default. Rates are the broker's (between the first and the last tenth of the balances, by append time); broker, cluster and workers share
the machine, and the cluster is ended before the sides that need none. A side that is not done --seconds after its first balance is
ended: its rate is that of what arrived. There are so many records that ours, the first on a cold broker, takes about as long.

    python -m bench.live_peers --runs=3

prints one JSON line per run and side, then the medians, and writes bench/results/live_peers.json: rows as those of `bench.run`, with each
side's guarantee and runs. The peers are installed into `.bench/peers` on first use (`bench/peers/environment.py`).
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from bench import broker, live_card
from bench.card import BALANCES, DEPOSITS
from bench.peers.balances import expected, judge
from bench.peers.environment import LOCK, locked, peers_python
from bench.peers.sides import OURS, SIDES, WORKERS, Place, Side
from bench.run import machine, table

RESULTS = Path(__file__).parent / "results" / "live_peers.json"
TERM_S = 20  # until what does not end is killed
SETTLE_S = 5  # for what the side before still does
KNOBS = {"lanes": WORKERS, "linger_ms": 5, "lease_ms": 1000, "step": 2000, "trace": False, "cloud_events": False}

Found = dict[str, Any]


@contextmanager
def running(commands: Sequence[Sequence[str]], folder: Path) -> Iterator[Callable[[], None]]:
    """The processes, each with a log of its own in `folder`; gives a check that raises when one of them has ended.

    At the end TERM, and KILL after TERM_S."""
    started: list[subprocess.Popen] = []
    try:
        for number, command in enumerate(commands):
            with (folder / f"process-{number}.log").open("w") as log:
                started.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

        def check() -> None:
            for number, process in enumerate(started):
                if process.poll() is not None:
                    raise SystemExit(f"exit status {process.returncode}: see {folder / f'process-{number}.log'}")

        yield check
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(TERM_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait(count: Callable[[], int], records: int, patience_s: float, seconds: float, check: Callable[[], None]) -> bool:
    """Waits until `records` are there (True), or `seconds` have gone since the first (False).

    Raises SystemExit when there is none within `patience_s`."""
    end, first = time.monotonic() + patience_s, False
    while (arrived := count()) < records:
        check()
        if arrived and not first:
            end, first = time.monotonic() + seconds, True
        if time.monotonic() > end:
            if not first:
                raise SystemExit(f"no balance within {patience_s:g} s")
            return False
        time.sleep(1)
    return True


def make_topic(bootstrap: str, name: str) -> None:
    """A topic of balances; all its partitions answer."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = NewTopic(name, DEPOSITS.partitions, 1, config={"message.timestamp.type": "LogAppendTime"})
    admin.create_topics([topic])[name].result(30)
    end = time.monotonic() + 30
    while True:
        try:
            broker.ends(bootstrap, name, DEPOSITS.partitions)
            return
        except KafkaException:  # made, but a partition has no leader yet
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def run_side(side: Side, place: Place, own: Namespace, stack: Any, right: dict[bytes, list[int]]) -> Found:
    """One side, from its first process to its last."""
    make_topic(place.bootstrap, side.topic)
    commands = side.prepare(place)

    def count() -> int:
        return sum(broker.ends(place.bootstrap, side.topic, DEPOSITS.partitions))

    with running(commands, place.folder) as check:
        try:
            done = wait(count, own.records, own.patience_s, own.seconds, check)
        finally:
            if side.job and (found := stack.rest.job(side.job)):
                stack.rest.cancel(found["jid"])
    return {"side": side.name, **judge(place.bootstrap, side.topic, right)._asdict(), "done": done}


def run_all(own: Namespace, folder: Path, sides: Sequence[Side], python: Path) -> Iterator[Found]:
    """Ours, then each side, over one fill."""
    from stack.cluster import Stack

    # A TaskManager with one slot, so a worker, for each lane.
    with Stack(folder, own.port, WORKERS, 1, 1, ("kafka", "flink", "jobserver")) as stack:
        live_card.measure(Namespace(**KNOBS, records=own.records, patience_s=own.patience_s), stack, folder)
        right = expected(stack.bootstrap)
        yield {"side": "ours", **judge(stack.bootstrap, BALANCES.name, right)._asdict(), "done": True}
        for side in sides:
            if not side.job:
                for name, service in reversed(stack.services.items()):
                    if name != "kafka":
                        service.process.stop()
            time.sleep(SETTLE_S)
            place = Place(
                stack.bootstrap,
                stack.job_endpoint,
                stack.worker_endpoint(),
                (own.port, own.port + 1),
                folder / side.name,
                python,
            )
            yield run_side(side, place, own, stack, right)


def rows_of(found: Sequence[Found], sides: Sequence[Side], versions: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of this benchmark: the medians of all runs, ours over each side."""

    def runs(name: str) -> list[Found]:
        return [{key: value for key, value in one.items() if key != "side"} for one in found if one["side"] == name]

    def median(name: str) -> float:
        return statistics.median(one["records_per_s"] for one in runs(name))

    ours = median("ours")
    row = {"unit": "records/s", "value": round(ours)}
    rows = [
        {"name": "T4 card job live on Flink, Avro in and out", **row, "baseline": None, "ratio": None}
        | {"floor": 80_000, "aim": 150_000, "floor_is": "value", "guarantee": OURS, "runs": runs("ours")}
    ]
    for side in sides:
        theirs = median(side.name)
        rows.append(
            {"name": f"T4 live against {side.title}", **row, "baseline": round(theirs)}
            | {"ratio": round(ours / theirs, 1), "floor": side.floor, "aim": side.aim, "floor_is": "ratio"}
            | {
                "guarantee": side.guarantee,
                "version": f"{side.package} {versions[side.package]}",
                "runs": runs(side.name),
            }
        )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one JSON line per run and side, then a table."""
    names = [side.name for side in SIDES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=6_000_000)
    parser.add_argument("--runs", type=int, default=3, help="the medians count")
    parser.add_argument("--seconds", type=float, default=20, help="from a side's first balance on")
    parser.add_argument("--patience_s", type=float, default=120, help="until a side's first balance")
    usual = [side.name for side in SIDES if side.usual]
    parser.add_argument("--sides", nargs="+", choices=names, default=usual, metavar="SIDE", help=", ".join(names))
    parser.add_argument("--port", type=int, default=21_000, help="base of 100 ports")
    parser.add_argument("--folder", type=Path, help="for the stacks and all logs; default: a temporary one")
    parser.add_argument("--results", type=Path, default=RESULTS)
    own = parser.parse_args(argv)
    if own.records < 10 or own.runs < 1:
        parser.error(f"needs at least 10 records and 1 run, got {own.records} and {own.runs}")
    python = peers_python()
    sides = [side for side in SIDES if side.name in own.sides]
    folder = own.folder or Path(tempfile.mkdtemp(prefix="live-peers-"))
    found = []
    for number in range(own.runs):
        for one in run_all(own, folder / str(number), sides, python):
            print(json.dumps({"run": number, **one}), flush=True)
            found.append(one)
    facts = machine()
    rows = rows_of(found, sides, locked(LOCK.read_text(encoding="utf-8")) | {"apache-beam": facts["apache-beam"]})
    print(table(rows))
    text = json.dumps([{**row, "machine": facts} for row in rows], indent=1)
    own.results.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
