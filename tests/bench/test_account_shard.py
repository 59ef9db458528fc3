"""What the benchmark of an account shard measures is what it says: transfers that were all posted, and remembered."""

import json

import pytest

from bench.account_shard import START_MS, main, measure, new_shard, put, transfer
from payments import topics
from schemas.payments import AccountOpened


def test_a_transfer_is_posted_on_both_sides_and_remembered():
    shard = new_shard()
    for name in ("account-00000000", "account-00000001"):
        put(shard, AccountOpened("open", name, 0, "EUR", 1000, None, False, START_MS), START_MS)
    leg = transfer(0, 2, START_MS)
    (credit,) = [o.event for o in put(shard, leg, START_MS) if o.topic == topics.INFLIGHT.name]
    put(shard, credit, START_MS)
    assert [shard.entities[name].balance for name in (leg.account_id, credit.account_id)] == [-1, 1]
    assert shard.shared.credits.get(credit.account_id, leg.payment_id).left == 1
    assert shard.counts.dead_lettered == 0


@pytest.mark.parametrize("accounts", [2, 3, 100])
def test_nobody_pays_itself_and_no_payment_comes_twice(accounts):
    legs = [transfer(n, accounts, START_MS) for n in range(1_000)]
    assert all(leg.account_id != leg.counterparty for leg in legs)
    assert len({leg.payment_id for leg in legs}) == len(legs)


def test_a_row_and_a_line(capsys):
    row = measure(500, 10, 1)
    assert (row["transfers"], row["accounts"]) == (500, 10)
    assert row["snapshot_mib"] >= 0.02
    main(["--transfers", "20", "--accounts", "5"])
    assert json.loads(capsys.readouterr().out)["transfers"] == 20
