"""What the tests of the payment rules stand on: one shard fed by hand, and the whole payment system in the in-memory loop."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from payments import topics
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.checkers import Item, read_logs
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
from schemas.rails import Record, Rule, Tick
from transforms.fold import Output, Processor, Shard
from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments")
START = 1_700_000_000_000 - 1_700_000_000_000 % 86_400_000  # midnight UTC


def payment(payment_id: str, kind: str = "TRANSFER", minor: int = 100, currency: str = "EUR", **fields: Any) -> Any:
    """A payment that is right for its kind, from account `a` to account `b`."""
    values = {
        "debtor_account": None if kind == "DEPOSIT" else "a",
        "creditor_account": "b" if kind in ("DEPOSIT", "TRANSFER", "CAPTURE", "REVERSAL") else None,
        "pending_id": "h" if kind in ("CAPTURE", "VOID") else None,
        "hold_timeout_ms": None,
        "original_payment_id": "o" if kind == "REVERSAL" else None,
        "reference": None,
        "source": "test",
        "requested_at": START,
        **fields,
    }
    return PaymentInitiated(payment_id=payment_id, kind=kind, amount=Money(minor, currency), **values)  # type: ignore[arg-type]


def leg(payment_id: str, what: str = "DEBIT", account: str = "a", minor: int = 100, **fields: Any) -> LedgerLeg:
    """A leg as admission would send it (hop 1), admitted at START."""
    kinds = {"HOLD": "HOLD", "CAPTURE": "CAPTURE", "RELEASE": "VOID"}
    values = {
        "kind": kinds.get(what, "TRANSFER"),
        "counterparty": "b" if what in ("DEBIT", "CAPTURE") else None,
        "amount": Money(minor, fields.pop("currency", "EUR")),
        "pending_id": "h" if what in ("CAPTURE", "RELEASE") else None,
        "hold_timeout_ms": None,
        "original_payment_id": None,
        "reference": None,
        "reason": None,
        "gated": False,
        "requested_at": START,
        "admitted_at": START,
        "hops": (),
        "hop": 1,
        **fields,
    }
    return LedgerLeg(payment_id=payment_id, leg=what, account_id=account, **values)  # type: ignore[arg-type]


def opened(
    account: str, overdraft: int = 0, daily: int | None = None, gate: bool = False, currency: str = "EUR"
) -> Any:
    return AccountOpened("open-" + account, account, 0, currency, overdraft, daily, gate, START)


def limited(account: str, overdraft: int, daily: int | None = None, expected: int = 1) -> AccountLimited:
    return AccountLimited(f"limit-{account}-{expected}", account, expected, overdraft, daily, START)


def frozen(account: str, on: bool = True, expected: int = 1) -> AccountFrozen:
    return AccountFrozen(f"freeze-{account}-{expected}", account, expected, on, START)


def closed(account: str, expected: int = 1) -> AccountClosed:
    return AccountClosed(f"close-{account}-{expected}", account, expected, START)


class Bench:
    """One shard, fed event by event. Every output's event goes through its codec, as on a real topic."""

    def __init__(self, processor: Processor, topic: str, partitions: int = 1) -> None:
        self.shard = Shard(processor, topic, 0, partitions, REGISTRY.decode)
        self.now = START
        self.outputs: list[Output] = []

    def feed(self, event: Any, at: int | None = None, key: str | None = None, value: bytes | None = None) -> list[Any]:
        """Appends `event` at START + `at` ms (default: the time of the last one); gives the events of its outputs."""
        if at is not None:
            self.now = START + at
        if key is None:
            key = getattr(event, "account_id", None) or getattr(event, "payment_id", None)
        raw = REGISTRY.encode(event) if value is None else value
        record = Record(self.shard.offset, self.now, None if key is None else key.encode(), raw, None, ())
        self.outputs = self.shard.step(record)
        for output in self.outputs:
            assert REGISTRY.decode(REGISTRY.encode(output.event)) == output.event
        return [output.event for output in self.outputs]

    def tick(self, at: int) -> list[Any]:
        return self.feed(Tick(START + at), at)

    def account(self, name: str = "a") -> Any:
        return self.shard.entities[name]


def accounts(processor: AccountProcessor | None = None, /, **balances: int) -> Bench:
    """A shard of the account processor with these accounts, in EUR, opened and filled by deposits."""
    bench = Bench(processor or AccountProcessor(), topics.INFLIGHT.name)
    for name, minor in balances.items():
        bench.feed(opened(name))
        if minor:
            bench.feed(leg("seed-" + name, "CREDIT", name, minor, kind="DEPOSIT"))
    return bench


def of(kind: type, events: Iterable[Any]) -> list[Any]:
    return [event for event in events if type(event) is kind]


def entry(record_at: int, event: Any) -> Record:
    """A client's record, appended at START + `record_at`; admin events and rules too."""
    key = None if isinstance(event, Rule) else getattr(event, "payment_id", None) or event.account_id
    return Record(0, START + record_at, None if key is None else key.encode(), REGISTRY.encode(event), None, ())


def targets(record: Record) -> list[tuple[str, int]]:
    event = REGISTRY.decode(record.value) if record.value and record.value[0] == 0 else None
    if isinstance(event, Rule):
        return [(topics.INFLIGHT.name, number) for number in range(topics.INFLIGHT.partitions)]
    admin = isinstance(event, AccountOpened | AccountLimited | AccountFrozen | AccountClosed)
    topic = topics.INFLIGHT if admin else topics.INCOMING
    return [(topic.name, topic.partition_of(record.key))]


class World:
    """The payment system in memory, run to its end: `logs` as the checkers read them, `shards` as they stood then."""

    def __init__(
        self,
        records: Sequence[tuple[int, Any]],
        processors: Callable[[], Sequence[Processor]] = lambda: (Admission(), AccountProcessor(), Watchdog()),
        hop_ms: int = 5,
        tick_ms: int = 1000,
    ) -> None:
        from transforms.chunks import unpack_chunk
        from transforms.loop import Loop, Stage

        read = (topics.INCOMING, topics.INFLIGHT, topics.STATUS)
        stages = [Stage(processor, topic) for processor, topic in zip(processors(), read, strict=False)]
        loop = Loop(stages, REGISTRY, targets, [topics.INFLIGHT, topics.STATUS], hop_ms, tick_ms)
        inputs = [event if isinstance(event, Record) else entry(at, event) for at, event in records]
        chunks = list(loop.run(sorted(inputs, key=lambda record: record.at)))
        self.logs = read_logs([(c.topic, c.partition, unpack_chunk(c)) for c in chunks], REGISTRY.decode)
        self.shards = loop.shards

    def events(self, topic: Any, kind: type | None = None) -> list[Any]:
        """All events of a topic by (time, partition, offset)."""
        items: list[tuple[int, int, int, Any]] = []
        for partition, held in self.logs.get(topic.name, {}).items():
            items += [(record.at, partition, record.offset, event) for record, event in held]
        items.sort(key=lambda item: item[:3])
        return [event for *_, event in items if kind is None or type(event) is kind]

    def final(self, payment_id: str) -> tuple[str, str | None]:
        """(status, reason) of the payment's highest hop."""
        said = [s for s in self.events(topics.STATUS) if getattr(s, "payment_id", "") == payment_id and not s.attempt]
        last = max(said, key=lambda status: status.hop)
        return last.status, last.reason

    def balance(self, account: str) -> int:
        for shard in self.shards:
            if shard.source.stage == AccountProcessor.stage and account in shard.entities:
                return int(shard.entities[account].balance)
        raise KeyError(account)

    def items(self, topic: Any) -> list[list[Item]]:
        """The partitions of a topic, to be tampered with."""
        return [list(held) for _, held in sorted(self.logs.get(topic.name, {}).items())]
