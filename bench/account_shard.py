"""Transfers through one shard of the account processor: time each, memory that stays, size and pause of a snapshot, time to restore it.

The processor alone, folded record by record (`Shard.step`), without broker and runner; each transfer is a debit and the credit that follows
from it, between any two accounts, over so many days of the log. Each row has a process to itself.

    python -m bench.account_shard                       # 300,000 transfers over 10,000 accounts
    python -m bench.account_shard --transfers 1000 5000 --accounts 100 --days 90

prints one line of JSON each. What the accounts take before the first transfer is not in `memory_mib`; the snapshot has them.
"""

import argparse
import gc
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

from bench.scale import resident_bytes
from payments import topics
from payments.accounts import AccountProcessor
from pipelines.registry import REGISTRY
from schemas.payments import AccountOpened, LedgerLeg, Money
from schemas.rails import Record
from transforms.fold import Output, Shard
from transforms.snapshots import encode_shard, restore_shard
from transforms.topic_settings import DAY_MS

START_MS = 1_767_225_600_000
_OVERDRAFT = 1 << 40  # so that every transfer is posted


def new_shard() -> Shard:
    return Shard(AccountProcessor(), topics.INFLIGHT.name, 0, 1, REGISTRY.decode)


def put(shard: Shard, event: Any, at: int) -> list[Output]:
    """Folds one record; what it causes."""
    return shard.step(Record(shard.offset, at, event.account_id.encode(), REGISTRY.encode(event), None, ()))


def transfer(number: int, accounts: int, at: int) -> LedgerLeg:
    debtor, creditor = number * 7919 % accounts, (number * 104_729 + 1) % accounts
    if debtor == creditor:
        creditor = (creditor + 1) % accounts
    payment_id = f"{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}-{number:08d}"
    money, times = Money(1 + number % 1000, "EUR"), (False, at, at, (), 1)
    return LedgerLeg(
        payment_id, "TRANSFER", "DEBIT", _name(debtor), _name(creditor), money, None, None, None, None, None, *times
    )


def _name(account: int) -> str:
    return f"account-{account:08d}"


def measure(transfers: int, accounts: int, days: int) -> dict[str, Any]:
    """Memory and snapshot in MiB, times in µs a transfer, pause and restoring in ms."""
    shard = new_shard()
    for account in range(accounts):
        put(shard, AccountOpened("open", _name(account), 0, "EUR", _OVERDRAFT, None, False, START_MS), START_MS)
    gc.collect()
    before, step = resident_bytes(), days * DAY_MS / transfers
    began = time.perf_counter()
    for number in range(transfers):
        at = START_MS + int(number * step)
        for output in put(shard, transfer(number, accounts, at), at):
            if output.topic == topics.INFLIGHT.name:
                put(shard, output.event, at)
    folded = time.perf_counter() - began
    gc.collect()
    memory = resident_bytes() - before
    began = time.perf_counter()
    data = encode_shard(shard)
    encoded = time.perf_counter()
    again = new_shard()
    restore_shard(again, data)
    restored = time.perf_counter()
    if encode_shard(again) != data:
        raise RuntimeError("the restored shard is another one")
    return {
        "transfers": transfers,
        "accounts": accounts,
        "days": days,
        "memory_mib": round(memory / 2**20, 1),
        "bytes_a_transfer": round(memory / transfers),
        "snapshot_mib": round(len(data) / 2**20, 2),
        "pause_ms": round(1000 * (encoded - began), 1),
        "restore_ms": round(1000 * (restored - encoded), 1),
        "us_a_transfer": round(1e6 * folded / transfers, 2),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one JSON line per number of transfers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfers", type=int, nargs="+", default=[300_000])
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=1)
    own = parser.parse_args(argv)
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for found in pool.map(partial(measure, accounts=own.accounts, days=own.days), own.transfers):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
