"""Many open auctions in the shards of one process: memory, size and pause of snapshots, and the time it takes when all end at once.

The auction house alone, folded record by record (`Shard.step`), without broker and runner. Each number of auctions has a process to
itself.

    python -m bench.open_auctions                       # 25,000, 50,000 and 100,000 open ones, 10,000 that end
    python -m bench.open_auctions --open 1000 --ending 500

prints one line of JSON each. A pause is the encoding of one shard's snapshot, during which its lane folds nothing; the file is not
written.
"""

import argparse
import gc
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from auctions import topics
from auctions.house import AuctionHouse
from auctions.items import complete_item
from bench.scale import resident_bytes
from pipelines.registry import REGISTRY
from schemas.auctions import AuctionOutcome, BidReceived, BidsClock, ItemListed
from schemas.payments import Money
from schemas.rails import Record
from transforms.fold import Output, Shard
from transforms.snapshots import encode_shard

START_MS = 1_767_225_600_000
LASTS_MS = 3_600_000
_BIDDERS = 5_000


class House:
    """The shards of the house, with so many open auctions, each with so many bids."""

    def __init__(self, auctions: int, bids: int) -> None:
        partitions = topics.LOG.partitions
        self.shards = [
            Shard(AuctionHouse(), topics.LOG.name, number, partitions, REGISTRY.decode) for number in range(partitions)
        ]
        for number in range(partitions):
            self.put(number, None, BidsClock(START_MS), START_MS)
        for number in range(auctions):
            self._open(f"auction-{number:06d}", number, bids)

    def put(self, partition: int, key: bytes | None, event: Any, at: int) -> list[Output]:
        """Folds one record; what it causes."""
        shard = self.shards[partition]
        return shard.step(Record(shard.offset, at, key, REGISTRY.encode(event), None, ()))

    def _open(self, name: str, number: int, bids: int) -> None:
        key, ends = name.encode(), START_MS + LASTS_MS
        partition = topics.LOG.partition_of(key)
        described = (name, name, f"seller-{number}", "A thing", "", "things", (), "EUR", 100)
        item = ItemListed(*described, None, None, None, START_MS, ends, None, None, False)
        self.put(partition, key, complete_item(item), START_MS)
        for bid in range(bids):
            bidder, at = f"bidder-{(number + bid) % _BIDDERS}", START_MS + 1 + bid
            maximum = Money(200 + 100 * bid, "EUR")
            received = BidReceived(f"bid-{number}-{bid}", name, bidder, bidder, maximum, at, None, None, None, ())
            self.put(partition, key, received, at)


def measure_open(auctions: int, bids: int = 3) -> dict[str, Any]:
    """Memory in MiB beyond what the process had, snapshots in MiB, the longest pause of a shard in ms."""
    before = resident_bytes()
    house = House(auctions, bids)
    gc.collect()
    memory, sizes, pauses = resident_bytes() - before, [], []
    for shard in house.shards:
        began = time.perf_counter()
        sizes.append(len(encode_shard(shard)))
        pauses.append(time.perf_counter() - began)
    return {
        "open": auctions,
        "bids_each": bids,
        "memory_mib": round(memory / 2**20, 1),
        "snapshots_mib": round(sum(sizes) / 2**20, 2),
        "pause_ms": round(1000 * max(pauses), 1),
    }


def measure_ending(auctions: int, bids: int = 10) -> dict[str, Any]:
    """Seconds from the first tick past the end until all outcomes are made and encoded."""
    house, outcomes, end = House(auctions, bids), 0, START_MS + LASTS_MS
    began = time.perf_counter()
    for number in range(len(house.shards)):
        for output in house.put(number, None, BidsClock(end), end):
            outcomes += output.topic == topics.OUTCOMES.name and isinstance(output.event, AuctionOutcome)
            REGISTRY.encode(output.event)
    return {
        "ending": auctions,
        "bids_each": bids,
        "outcomes": outcomes,
        "seconds": round(time.perf_counter() - began, 3),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one JSON line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=int, nargs="*", default=[25_000, 50_000, 100_000])
    parser.add_argument("--ending", type=int, nargs="*", default=[10_000])
    own = parser.parse_args(argv)
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for measure, sizes in ((measure_open, own.open), (measure_ending, own.ending)):
            for found in pool.map(measure, sizes):
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
