"""The account processor against a small independent model, over random sequences of payments, account changes and time."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from payments import topics
from payments.accounts import AccountProcessor
from schemas.payments import LedgerLeg, PaymentStatus
from tests.payments.world import START, Bench, closed, frozen, leg, limited, of, opened

DAY = 86_400_000
NAMES = ("a", "b", "g")  # g lets one debit at a time go


@dataclass
class Simple:
    """An account as one would write it down by hand."""

    gate: bool = False
    balance: int = 0
    overdraft: int = 0
    daily: int | None = None
    closed: bool = False
    frozen: bool = False
    changes: int = 1
    holds: dict[str, list[Any]] = field(default_factory=dict)  # id → [amount, state, until, day]
    received: dict[str, list[Any]] = field(default_factory=dict)  # id → [from, left]
    spent: list[tuple[int, str, int]] = field(default_factory=list)  # (day, payment, minor)
    flying: str | None = None
    queue: deque[Any] = field(default_factory=deque)

    def held(self) -> int:
        return sum(hold[0] for hold in self.holds.values() if hold[1] == "open")

    def may_pay(self, minor: int, day: int) -> str | None:
        if self.closed:
            return "AC04"
        if self.frozen:
            return "AC06"
        if self.daily is not None and minor + sum(m for d, _, m in self.spent if d == day) > self.daily:
            return "AM14"
        return None if minor <= self.balance - self.held() + self.overdraft else "AM04"


class Model:
    """All accounts, and what every payment has come to: payment → (status, reason)."""

    def __init__(self) -> None:
        self.accounts = {name: Simple(gate=name == "g") for name in NAMES}
        self.ends: dict[str, tuple[str, str | None]] = {}
        self.now = 0

    def advance(self, now: int) -> None:
        self.now = now
        for account in self.accounts.values():
            for hold_id, hold in account.holds.items():
                if hold[1] == "open" and hold[2] is not None and hold[2] <= now:
                    self._free(account, hold_id, "expired")
                    self.ends[hold_id] = "CANC", "DS24"

    def _free(self, account: Simple, hold_id: str, state: str, kept: int = 0) -> None:
        hold = account.holds[hold_id]
        hold[1] = state
        account.spent = [s for s in account.spent if s[1] != hold_id]
        if kept:
            account.spent.append((hold[3], hold_id, kept))

    def apply(self, item: LedgerLeg) -> None:
        account = self.accounts.get(item.account_id)
        payment, minor, day = item.payment_id, item.amount.minor, (START + self.now) // DAY
        if item.leg in ("DEBIT", "CAPTURE") and account is not None and account.flying is not None:
            account.queue.append(item)
            return
        if item.leg in ("DEBIT", "HOLD", "CAPTURE", "RELEASE") and account is None:
            self.ends[payment] = "RJCT", "AC01"
            return
        if item.leg == "CREDIT" and (account is None or account.closed):
            if item.kind == "DEPOSIT":
                self.ends[payment] = "RJCT", "AC03" if account is None else "AC04"
            return
        assert account is not None
        if item.leg == "CREDIT":
            account.balance += minor
            self.ends[payment] = "ACCC", None
            if item.kind in ("TRANSFER", "CAPTURE"):
                account.received[payment] = [item.counterparty, minor]
        elif item.leg == "DEBIT":
            reason = account.may_pay(minor, day)
            if reason is None and item.kind == "REVERSAL":
                original = account.received.get(item.original_payment_id or "")
                if original is None:
                    reason = "NARR"
                elif original[0] != item.counterparty:
                    reason = "AC03"
                elif original[1] < minor:
                    reason = "AM02"
                else:
                    original[1] -= minor
            if reason is not None:
                self.ends[payment] = "RJCT", reason
                return
            account.balance -= minor
            account.spent.append((day, payment, minor))
            self._left(account, item, "ACCC" if item.kind == "WITHDRAWAL" else "ACSP")
        elif item.leg == "HOLD":
            reason = account.may_pay(minor, day)
            self.ends[payment] = ("PDNG", None) if reason is None else ("RJCT", reason)
            if reason is None:
                until = None if item.hold_timeout_ms is None else self.now + item.hold_timeout_ms
                account.holds[payment] = [minor, "open", until, day]
                account.spent.append((day, payment, minor))
        elif item.leg in ("CAPTURE", "RELEASE"):
            hold = account.holds.get(item.pending_id or "")
            if hold is None or hold[1] != "open":
                self.ends[payment] = "RJCT", "DS24" if hold is not None and hold[1] == "expired" else "NARR"
            elif item.leg == "RELEASE":
                self._free(account, item.pending_id or "", "voided")
                self.ends[payment], self.ends[item.pending_id or ""] = ("ACCC", None), ("CANC", None)
            elif account.closed:
                self.ends[payment] = "RJCT", "AC04"
            elif minor > hold[0]:
                self.ends[payment] = "RJCT", "AM02"
            else:
                self._free(account, item.pending_id or "", "captured", minor)
                account.balance -= minor
                self.ends[item.pending_id or ""] = "ACCC", None
                self._left(account, item, "ACSP")
        else:
            if item.leg == "UNWIND":
                account.balance += minor
                gone = item.pending_id if item.kind == "CAPTURE" else payment
                account.spent = [s for s in account.spent if s[1] != gone]
                if item.kind == "REVERSAL":
                    account.received[item.original_payment_id or ""][1] += minor
                self.ends[payment] = "RJCT", item.reason
            if account.flying == payment:
                account.flying = None
                while account.queue and account.flying is None:
                    self.apply(account.queue.popleft())

    def _left(self, account: Simple, item: LedgerLeg, status: str) -> None:
        self.ends[item.payment_id] = status, None
        if account.gate and status == "ACSP":
            account.flying = item.payment_id


names = st.sampled_from([*NAMES, "nobody"])
known = st.sampled_from(NAMES)
amounts = st.integers(1, 60)
which = st.integers(0, 5)  # of what an account has: a hold to capture or void, a credit to reverse
actions = st.one_of(
    st.tuples(st.just("deposit"), known, st.integers(1, 200)),
    st.tuples(st.just("withdraw"), names, amounts),
    st.tuples(st.just("transfer"), names, names, amounts),
    st.tuples(st.just("transfer"), known, known, amounts),
    st.tuples(st.just("hold"), known, amounts, st.none() | st.integers(1, 3_000)),
    st.tuples(st.just("capture"), known, names, amounts, which),
    st.tuples(st.just("void"), known, which),
    st.tuples(st.just("reverse"), known, names, amounts, which),
    st.tuples(st.just("freeze"), known, st.booleans()),
    st.tuples(st.just("limit"), known, st.integers(0, 100), st.none() | st.integers(20, 150)),
    st.tuples(st.just("wait"), st.sampled_from([1, 700, 1_000, 3_000, DAY // 2, DAY])),
)
steps = st.tuples(actions, st.integers(0, 3), st.integers(0, 5))
closings = st.lists(st.tuples(st.integers(0, 40), known), max_size=2)  # rare, or little would happen after them
dailies = st.none() | st.integers(40, 150)


class Run:
    """Feeds the processor and the model with the same records; what is sent on is delivered in any order across accounts."""

    def __init__(self) -> None:
        self.bench, self.model = Bench(AccountProcessor(), topics.INFLIGHT.name), Model()
        self.flying: list[LedgerLeg] = []
        self.ends: dict[str, tuple[int, str, str | None]] = {}
        self.ids: list[str] = []
        for name in NAMES:
            self.feed(opened(name, gate=name == "g"))

    def feed(self, event: Any) -> None:
        self.model.advance(self.bench.now - START)
        events = self.bench.feed(event)
        for status in of(PaymentStatus, events):
            held = self.ends.get(status.payment_id)
            assert held is None or status.hop > held[0]
            self.ends[status.payment_id] = status.hop, status.status, status.reason
        self.flying += of(LedgerLeg, events)
        if isinstance(event, LedgerLeg):
            self.model.apply(event)
        self.compare()

    def compare(self) -> None:
        for name, simple in self.model.accounts.items():
            account = self.bench.shard.entities.get(name)
            if account is None:
                continue
            assert (account.balance, account.debits_pending) == (simple.balance, simple.held())
            assert account.available == simple.balance - simple.held() + simple.overdraft
            assert account.in_flight == simple.flying
            assert [w.payment_id for w in account.waiting] == [w.payment_id for w in simple.queue]
            states = {hold_id: hold.outcome.lower() for hold_id, hold in account.holds.items()}
            assert states == {hold_id: hold[1] for hold_id, hold in simple.holds.items()}
            for payment_id, (debtor, left) in simple.received.items():
                credit = self.bench.shard.shared.credits.get(name, payment_id)
                assert credit.left == left and credit.was_paid_by(debtor)
        shard = self.bench.shard
        assert len(shard.shared.credits) == sum(len(simple.received) for simple in self.model.accounts.values())
        assert sum(a.balance for a in shard.entities.values()) + sum(shard.shared.contra.values()) == 0
        on_their_way = sum(item.amount.minor for item in self.flying if item.leg in ("CREDIT", "UNWIND"))
        assert shard.shared.contra.get("~transit/0/EUR", 0) == on_their_way
        assert {p: end[1:] for p, end in self.ends.items()} == self.model.ends
        assert shard.counts.dead_lettered == 0

    def act(self, action: tuple[Any, ...]) -> None:
        what, *rest = action
        payment_id = f"p{len(self.ids)}"
        model = self.model.accounts
        if what == "wait":
            self.bench.now += rest[0]
        elif what == "freeze":
            name, on = rest
            self.feed(frozen(name, on, model[name].changes))
            model[name].frozen = on
            model[name].changes += 1
        elif what == "limit":
            name, overdraft, daily = rest
            model[name].overdraft, model[name].daily = overdraft, daily
            self.feed(limited(name, overdraft, daily, model[name].changes))
            model[name].changes += 1
        elif what == "close":
            (name,) = rest
            self.feed(closed(name, model[name].changes))
            model[name].closed = True
            model[name].changes += 1
        else:
            self.ids.append(payment_id)
            self.feed(self.first_leg(payment_id, what, rest))

    def first_leg(self, payment_id: str, what: str, rest: list[Any]) -> LedgerLeg:
        if what == "deposit":
            return leg(payment_id, "CREDIT", rest[0], rest[1], kind="DEPOSIT")
        if what == "withdraw":
            return leg(payment_id, "DEBIT", rest[0], rest[1], kind="WITHDRAWAL", counterparty=None)
        if what == "hold":
            return leg(payment_id, "HOLD", rest[0], rest[1], hold_timeout_ms=rest[2])
        account = self.model.accounts.get(rest[0], Simple())
        if what == "void":
            return leg(payment_id, "RELEASE", rest[0], pending_id=one_of(account.holds, rest[1]))
        creditor = rest[1] if rest[1] != rest[0] else "nobody"
        if what == "capture":
            hold = one_of(account.holds, rest[3])
            return leg(payment_id, "CAPTURE", rest[0], rest[2], counterparty=creditor, pending_id=hold)
        if what == "reverse":
            original = one_of(account.received, rest[3])
            if original in account.received and rest[2] % 4:  # mostly to the one who paid
                creditor = account.received[original][0]
            fields = {"kind": "REVERSAL", "counterparty": creditor, "original_payment_id": original}
            return leg(payment_id, "DEBIT", rest[0], rest[2], **fields)
        return leg(payment_id, "DEBIT", rest[0], rest[2], counterparty=creditor)

    def deliver(self, which: int) -> None:
        if self.flying:
            self.feed(self.flying.pop(which % len(self.flying)))


def one_of(things: dict[str, Any], which: int) -> str:
    """The newest, or one of the newest, or one that was never there."""
    return sorted(things, reverse=True)[which] if which < len(things) else "never"


def play(sequence: list[Any], closings: Sequence[tuple[int, str]] = ()) -> Run:
    run = Run()
    for number, (action, deliveries, which) in enumerate(sequence):
        for when, name in closings:
            if when == number and not run.model.accounts[name].closed:
                run.act(("close", name))
        run.act(action)
        for _ in range(deliveries):
            run.deliver(which)
    while run.flying:
        run.deliver(0)
    return run


@settings(max_examples=120)
@given(dailies, st.lists(steps, min_size=5, max_size=40), closings)
def test_the_processor_does_what_the_model_does(daily, sequence, closings):
    start = [(("deposit", name, 100), 0, 0) for name in NAMES]
    if daily is not None:
        start += [(("limit", name, 50, daily), 0, 0) for name in NAMES]
    run = play(start + sequence, closings)
    assert all(status in ("ACCC", "RJCT", "CANC", "PDNG") for _, status, _ in run.ends.values())
    assert run.bench.shard.shared.contra.get("~transit/0/EUR", 0) == 0


FULL = [
    (("deposit", "a", 100), 0, 0),
    (("deposit", "g", 100), 0, 0),
    (("limit", "a", 10, 90), 0, 0),
    (("hold", "a", 40, 1_000), 0, 0),
    (("capture", "a", "b", 30, 0), 0, 0),
    (("transfer", "g", "b", 10), 0, 0),
    (("transfer", "g", "nobody", 20), 0, 0),
    (("capture", "g", "a", 30, 3), 1, 1),
    (("hold", "a", 20, 1_000), 3, 0),
    (("wait", 1_000), 0, 0),
    (("void", "a", 0), 3, 0),
    (("reverse", "b", "g", 10, 0), 3, 0),
    (("transfer", "a", "b", 70), 3, 0),
    (("freeze", "a", True), 0, 0),
    (("withdraw", "a", 1), 0, 0),
    (("close", "b"), 0, 0),
    (("deposit", "b", 1), 0, 0),
]


def test_a_sequence_that_has_all_kinds():
    run = play(FULL)
    assert {status for _, status, _ in run.ends.values()} == {"ACCC", "RJCT", "CANC"}
    assert {reason for _, _, reason in run.ends.values()} >= {"AC03", "AC04", "AC06", "AM14", "DS24", "NARR"}
