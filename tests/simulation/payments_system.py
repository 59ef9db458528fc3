"""The payment system as the simulator runs it: few partitions, few accounts, and clients who try everything.

Used by test_payments.py. One seed by hand: `python -m tests.simulation.payments_system SEED`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from payments import checkers, topics
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.watchdog import Watchdog
from schemas.payments import (
    AccountClosed,
    AccountFrozen,
    AccountLimited,
    AccountOpened,
    LedgerLeg,
    Money,
    PaymentInitiated,
)
from schemas.rails import Rule
from tests.simulation.seeds import run_by_hand
from transforms.fold import DEAD_LETTERS, Topic
from transforms.loop import Stage
from transforms.registry import Registry
from transforms.simulator import Faults, Outcome, Sent, Simulation, System

PARTITIONS = 2
ACCOUNTS = 6
PAYMENTS = 32
SLA_MS = 5_000
REGISTRY = Registry.of("rails", "payments")
NAMES = ("INCOMING", "INFLIGHT", "JOURNAL", "STATUS", "CONFIRMED", "BALANCES", "OVERDUE")


@contextmanager
def few_partitions() -> Iterator[None]:
    """The payment topics with PARTITIONS partitions each."""
    held = {name: getattr(topics, name) for name in NAMES}
    for name, topic in held.items():
        setattr(topics, name, Topic(topic.name, PARTITIONS))
    try:
        yield
    finally:
        for name, topic in held.items():
            setattr(topics, name, topic)


def payment_system(inputs: Any = None, accounts: type[AccountProcessor] = AccountProcessor) -> System:
    """To be called, and run, within `few_partitions`."""
    return System(
        stages=[
            Stage(Admission(), topics.INCOMING),
            Stage(accounts(), topics.INFLIGHT),
            Stage(Watchdog(SLA_MS), topics.STATUS),
        ],
        registry=REGISTRY,
        inputs=inputs or client_records,
        ticked=[topics.INFLIGHT, topics.STATUS],
        checkers=[check_invariants, check_money, check_everyone_is_told],
        drain_ms=16_000,
        tick_ms=2_000,
    )


# --- what clients send ---


def client_records(rng: Random, start: int) -> list[Sent]:
    """Accounts, rules and payments: good ones, refused ones, repeated ones, broken ones."""
    return [*_openings(start), *_wishes(rng, start)]


def _sent(topic: Topic, key: str, event: Any) -> Sent:
    raw = key.encode()
    return Sent(topic.name, topic.partition_of(raw), raw, REGISTRY.encode(event))


def _openings(start: int) -> Iterator[Sent]:
    for i in range(ACCOUNTS):
        name, currency = f"a{i}", "CHF" if i == ACCOUNTS - 1 else "EUR"
        opened = AccountOpened(
            f"open-{i}", name, 0, currency, 500 * (i % 3), 4000 if i == 2 else None, i in (0, 3), start
        )
        yield _sent(topics.INFLIGHT, name, opened)
        first = PaymentInitiated(f"d{i}", "DEPOSIT", None, name, Money(2000, currency), *[None] * 4, "x", start)
        yield _sent(topics.INCOMING, first.payment_id, first)


def _wishes(rng: Random, start: int) -> Iterator[Sent]:
    paid: list[tuple[str, str, str]] = []
    holds: list[tuple[str, str]] = []
    sent: list[Sent] = []
    for i in range(PAYMENTS):
        roll = rng.random()
        if roll < 0.06 and sent:
            yield rng.choice(sent)  # the same again: a duplicate by id
            continue
        if roll < 0.16:
            yield _nuisance(rng, i, start, sent)
            continue
        payment = _payment(rng, i, start, paid, holds)
        sent.append(_sent(topics.INCOMING, payment.payment_id, payment))
        yield sent[-1]


def _payment(
    rng: Random, i: int, start: int, paid: list[tuple[str, str, str]], holds: list[tuple[str, str]]
) -> PaymentInitiated:
    name = f"p{i}"
    debtor, creditor = rng.sample([f"a{n}" for n in range(ACCOUNTS)], 2)
    minor = rng.choice((0, 1, 70, 300, 900, 2500))
    kind = rng.choice(("DEPOSIT", "TRANSFER", "TRANSFER", "TRANSFER", "WITHDRAWAL", "HOLD", "END", "REVERSAL"))
    pending, timeout, original = None, None, None
    if kind == "DEPOSIT":
        minor += 1000
    elif kind == "HOLD":
        timeout = rng.choice((None, 500, 3000))
        holds.append((name, debtor))
    elif kind == "END":
        kind = rng.choice(("CAPTURE", "VOID"))
        pending, debtor = rng.choice(holds) if holds else ("never", debtor)
        creditor = rng.choice([f"a{n}" for n in range(ACCOUNTS) if f"a{n}" != debtor])
    elif kind == "REVERSAL":
        original, creditor, debtor = rng.choice(paid) if paid else ("never", creditor, debtor)
        minor = rng.choice((1, 70))
    if kind == "TRANSFER":
        paid.append((name, debtor, creditor))
        if rng.random() < 0.1:
            debtor, creditor = ("nobody", creditor) if rng.random() < 0.5 else (debtor, "nobody")
    currency = "EUR" if rng.random() < 0.95 else "XXX"
    return PaymentInitiated(
        name,
        kind,  # type: ignore[arg-type]
        None if kind == "DEPOSIT" else debtor,
        None if kind in ("WITHDRAWAL", "HOLD", "VOID") else creditor,
        Money(minor, currency),
        pending,
        timeout,
        original,
        None,
        "simulator",
        start,
    )


def _nuisance(rng: Random, i: int, start: int, sent: list[Sent]) -> Sent:
    """Account changes, rules, and what is no good."""
    name = f"a{rng.randrange(ACCOUNTS)}"
    expected = rng.randrange(1, 3)
    what = rng.randrange(8)
    if what == 0:
        return _sent(topics.INFLIGHT, name, AccountFrozen(f"admin-{i}", name, expected, rng.random() < 0.5, start))
    if what == 1:
        return _sent(topics.INFLIGHT, name, AccountLimited(f"admin-{i}", name, expected, 100, None, start))
    if what == 2:
        return _sent(topics.INFLIGHT, name, AccountClosed(f"admin-{i}", name, expected, start))
    if what == 3:
        rule = Rule(f"rule-{i}", "velocity", i, rng.random() < 0.7, {"interval_ms": 2000, "max_count": 1})
        return Sent(topics.INFLIGHT.name, rng.randrange(PARTITIONS), None, REGISTRY.encode(rule))
    if what == 4 and sent:
        other = PaymentInitiated(sent[-1].key.decode(), "DEPOSIT", None, name, Money(5, "EUR"), *[None] * 4, "x", start)  # type: ignore[union-attr]
        return _sent(topics.INCOMING, other.payment_id, other)  # the id of another payment, with other content
    if what == 5:
        return Sent(topics.INCOMING.name, 0, b"p", rng.choice((None, b"", b"\x00\x00\x00\x00\x0b\xff", b"junk")))
    if what == 6:
        leg = LedgerLeg(f"p{i}", "DEPOSIT", "CREDIT", name, None, Money(10**6, "EUR"), *[None] * 5, False, 0, 0, (), 1)  # type: ignore[arg-type]
        return Sent(topics.INFLIGHT.name, rng.randrange(PARTITIONS), b"another key", REGISTRY.encode(leg))
    late = PaymentInitiated(f"p{i}", "DEPOSIT", None, name, Money(9, "EUR"), *[None] * 4, "x", start - 2 * 86_400_000)
    return _sent(topics.INCOMING, f"p{i}", late)


# --- what must hold in the end ---


def check_invariants(outcome: Outcome) -> Iterable[str]:
    """Invariants 1 to 5 and 10, in every prefix where they say so (payments/checkers.py)."""
    names = (*(getattr(topics, name).name for name in NAMES), DEAD_LETTERS.name)
    return checkers.check_all({name: outcome.events(name) for name in names}, outcome.shards)


def check_money(outcome: Outcome) -> Iterable[str]:
    """All money of all accounts, of what is in transit and of the outside world adds up to nothing, and nothing is in transit."""
    totals: dict[str, int] = {}
    for shard in outcome.shards:
        if shard.source.stage != AccountProcessor.stage:
            continue
        for account in shard.entities.values():
            totals[account.currency] = totals.get(account.currency, 0) + account.balance
        for name, balance in shard.shared.contra.items():
            currency = name[-3:]
            totals[currency] = totals.get(currency, 0) + balance
            transit = f"transit {currency}"
            totals[transit] = totals.get(transit, 0) + (balance if name.startswith("~transit") else 0)
    return [f"{total} too much: {what}" for what, total in totals.items() if total]


def check_everyone_is_told(outcome: Outcome) -> Iterable[str]:
    """Each record of payments.incoming has at least one status or a dead letter of admission, by its identity."""
    told = {
        (record.origin.source.partition, record.origin.offset)
        for topic in (topics.STATUS.name, DEAD_LETTERS.name)
        for records in outcome.events(topic).values()
        for record, _ in records
        if record.origin is not None and record.origin.source.stage == Admission.stage
    }
    for number in range(PARTITIONS):
        for record in outcome.logs.get((topics.INCOMING.name, number), []):
            if (number, record.offset) not in told:
                yield f"{topics.INCOMING.name}/{number}/{record.offset}: no status and no dead letter"


def run_seed(seed: int, faults: Faults = Faults()) -> Outcome:
    with few_partitions():
        return Simulation(payment_system(), seed, faults).run()


if __name__ == "__main__":
    run_by_hand(run_seed)
