"""The generator: a seeded stream of clients' records as a bank would get them, with faults planted at a known rate.

Equal settings give equal records on every machine: all choices come from `Random.random`, whose sequence Python guarantees, and no choice goes
through a function whose last bit a platform may round otherwise (weights are rounded to integers first).

The stream: accounts open, a velocity rule comes into force, money comes in; then payments at the rate, with holds, captures, voids and reversals that
refer to each other, planted faults (`planted`), repeats, and now and then a change of a limit, of a rule, or a freeze.
"""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

from payments import planted, topics
from payments.account import DAY_MS
from payments.planted import ROLES, VELOCITY_LIMIT, Step, World
from payments.settings import VELOCITY
from schemas.payments import (
    AccountClosed,
    AccountFrozen,
    AccountLimited,
    AccountOpened,
    Kind,
    Money,
    PaymentInitiated,
)
from schemas.rails import Record, Rule
from transforms.registry import Registry

CURRENCIES = ("EUR", "JPY", "KWD")  # with 2, 0 and 3 decimals
START_MS = 1_767_225_600_000  # 1 January 2026, 00:00 UTC
MIN_ACCOUNTS = 3 * len(ROLES) + 12
MIN_PAYMENTS = 100
_REGISTRY = Registry.of("rails", "payments")
_SOURCES = ("app", "branch", "card", "web")
_SCALES = (100, 1_000, 10_000, 100_000)
_TIMEOUTS = (5_000, 30_000, 120_000, 900_000, None)
_OPENING_MS = 2_000  # from the start to the first payment at the rate
_RICH = 10**13
_RECENT = 256


@dataclass(frozen=True)
class Settings:
    """What is generated. Shares are of the payments; `rate` is payments per second of log time.

    skew: 0 spreads payments evenly over the accounts; 1 gives the n-th account a weight of 1/n (Zipf), larger values more to the first.
    disorder_ms: claimed times lie up to that much before the times of append.
    """

    payments: int = 20_000
    accounts: int = 1_000
    seed: int = 1
    rate: int = 100
    skew: float = 0.5
    bad: float = 0.02
    duplicates: float = 0.01
    disorder_ms: int = 2_000
    start_ms: int = START_MS

    def __post_init__(self) -> None:
        if self.payments < MIN_PAYMENTS or self.accounts < MIN_ACCOUNTS:
            raise ValueError(
                f"payments must be at least {MIN_PAYMENTS} and accounts {MIN_ACCOUNTS}, got {self.payments} and {self.accounts}"
            )
        if not 1 <= self.rate <= 1_000_000:
            raise ValueError(f"rate must be from 1 to 1,000,000 a second, got {self.rate}")
        if not 0 <= self.skew <= 3:
            raise ValueError(f"skew must be from 0 to 3, got {self.skew}")
        if self.bad < 0 or self.duplicates < 0 or self.bad + self.duplicates > 0.5:
            raise ValueError(
                f"bad and duplicates must be shares of together at most 0.5, got {self.bad} and {self.duplicates}"
            )
        if not 0 <= self.disorder_ms <= DAY_MS // 2:
            raise ValueError(f"disorder_ms must be from 0 to half a day, got {self.disorder_ms}")
        if not DAY_MS * 2 <= self.start_ms < 1 << 46:
            raise ValueError(f"start_ms must be between 1970 and the year 4199, got {self.start_ms}")


class _Later(NamedTuple):
    """Something to be written at a time; `number` keeps the order of those of one time."""

    at: int
    number: int
    name: str  # of the fault, "" for ordinary traffic
    what: Any  # Step, PaymentInitiated, or a Record to be repeated


class Generation:
    """Iterating gives the records in the order of `at`, numbered from 0; afterwards `truth()` says what was planted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._draw = Random(settings.seed).random
        self._offset = self._emitted = self._ids = self._pushed = 0
        self._later: list[_Later] = []
        self._recent: deque[tuple[Record, PaymentInitiated]] = deque(maxlen=_RECENT)
        self._planted: Counter[str] = Counter()
        self._duplicates = 0
        self._recipes = planted.recipes(topics.INFLIGHT.partitions)
        self._make_accounts()

    def _make_accounts(self) -> None:
        names = [f"acc-{number:07d}" for number in range(1, self.settings.accounts + 1)]
        self._roles: list[dict[str, str]] = []
        for _ in CURRENCIES:
            self._roles.append(dict(zip(ROLES, names, strict=False)))
            del names[: len(ROLES)]
        # Ordinary accounts: number i is in currency i % 3; the tables are of each currency's accounts, the first drawn most often.
        self._names = names
        self._funds = [0] * len(names)
        self._pools = [range(currency, len(names), len(CURRENCIES)) for currency in range(len(CURRENCIES))]
        skew = self.settings.skew
        self._weights = [
            list(accumulate(max(1, round(10**9 / (rank + 1) ** skew)) for rank in range(len(pool))))
            for pool in self._pools
        ]

    # --- records ---

    def __iter__(self) -> Iterator[Record]:
        yield from self._beginning()
        settings, later, draw = self.settings, self._later, self._draw
        first, rate, total = settings.start_ms + _OPENING_MS, settings.rate, settings.payments
        bad, repeated = settings.bad, settings.bad + settings.duplicates
        funding = min(len(self._names), total // 5)
        changes, every, began = 0, max(50, total // 40), self._emitted
        while self._emitted < total:
            now = first + (self._emitted - began) * 1000 // rate
            if later and later[0].at <= now:
                yield from self._due(heappop(later))
                continue
            if funding:
                funding -= 1
                yield self._payment(now, self._deposit(funding))
                continue
            if (self._emitted - began) // every > changes:
                changes += 1
                yield self._record(now, self._change(changes, now))
                continue
            chance = draw()
            if chance < bad:
                self._plant(now)
            elif chance < repeated:
                self._duplicates += 1
                self._emitted += 1
                yield self._again(now, self._recent[int(draw() * len(self._recent))][0])
            else:
                yield self._payment(now, self._ordinary(now))

    def truth(self) -> dict[str, Any]:
        """What the stream holds, and what must become of the planted faults; plain JSON."""
        faults = {
            name: {"count": self._planted[name], **{k: v for k, v in expected._asdict().items() if v is not None}}
            for name, (expected, _) in self._recipes.items()
            if self._planted[name]
        }
        letters: Counter[str] = Counter()
        for fault in faults.values():
            if "dead_letter" in fault:
                letters[fault["dead_letter"]] += fault["count"] * fault["letters"]
        return {
            "records": self._offset,
            "payments": self._emitted,
            "accounts": self.settings.accounts,
            "duplicates": self._duplicates,
            "dead_letters": dict(sorted(letters.items())),
            "planted": faults,
        }

    def _record(self, at: int, event: Any) -> Record:
        """An account change or a rule as a record; both carry their own key."""
        key = None if isinstance(event, Rule) else event.account_id.encode()
        return self._numbered(at, key, _REGISTRY.encode(event))

    def _payment(self, at: int, payment: PaymentInitiated) -> Record:
        """An ordinary payment as a record."""
        disorder = self.settings.disorder_ms
        claimed = at - int(self._draw() * disorder) if disorder else at
        payment = payment._replace(requested_at=claimed)
        record = Record(self._offset, at, payment.payment_id.encode(), _REGISTRY.encode(payment), None, ())
        self._offset += 1
        self._emitted += 1
        self._recent.append((record, payment))
        return record

    def _numbered(self, at: int, key: bytes | None, value: bytes | None) -> Record:
        record = Record(self._offset, at, key, value, None, ())
        self._offset += 1
        return record

    def _again(self, at: int, record: Record) -> Record:
        return self._numbered(at, record.key, record.value)

    def _push(self, at: int, name: str, what: Any) -> None:
        self._pushed += 1
        heappush(self._later, _Later(at, self._pushed, name, what))

    def _due(self, item: _Later) -> Iterator[Record]:
        at, _, name, what = item
        if isinstance(what, PaymentInitiated):
            yield self._payment(at, what)
        elif isinstance(what, Step):
            yield self._step(at, name, what)
        else:
            self._duplicates += 1
            self._emitted += 1
            yield self._again(at, what)

    def _step(self, at: int, name: str, step: Step) -> Record:
        event, key = step.event, step.key
        if isinstance(event, PaymentInitiated):
            claim = step.claim_ms if step.claim_ms is not None else -int(self._draw() * self.settings.disorder_ms)
            reference = planted.PREFIX + name if step.bad or name == "gate_queue" else None
            event = event._replace(requested_at=at + claim, reference=reference)
            own: bytes | None = event.payment_id.encode()
        else:
            own = None if isinstance(event, Rule) else (getattr(event, "account_id", "") or event.payment_id).encode()
        value: bytes | None = _REGISTRY.encode(event)
        if step.corrupt is not None:
            value = step.corrupt(value)  # type: ignore[arg-type]
        record = self._numbered(at, own if key is None else key or None, value)
        self._emitted += 1
        self._planted[name] += step.bad
        if step.again_ms is not None:
            self._push(at + step.again_ms, name, record)
        return record

    # --- what happens ---

    def _beginning(self) -> Iterator[Record]:
        start = self.settings.start_ms
        opened = [
            (account, currency, role)
            for currency, roles in zip(CURRENCIES, self._roles, strict=True)
            for role, account in roles.items()
        ]
        opened += [(name, CURRENCIES[number % len(CURRENCIES)], "") for number, name in enumerate(self._names)]
        for number, (account, currency, role) in enumerate(sorted(opened)):
            overdraft = 0 if role else (0, 0, 0, 50_000)[number % 4]
            daily = planted.DAILY_LIMIT if role == "limited" else None if role or number % 5 else 10**9
            gated = role == "gated" or (not role and number % 16 == 1)
            yield self._record(
                start, AccountOpened(self._new_id(), account, 0, currency, overdraft, daily, gated, start)
            )
        yield self._record(start, self._rule(1))
        at = start + 1
        for currency, roles in zip(CURRENCIES, self._roles, strict=True):
            for role, minor in (
                ("rich", _RICH),
                ("payee", _RICH),
                ("limited", 10**6),
                ("frozen", 10**6),
                ("gated", 10**6),
            ):
                yield self._payment(at, self._new("DEPOSIT", None, roles[role], minor, currency))
        at = start + _OPENING_MS // 2
        for roles in self._roles:
            yield self._record(at, AccountFrozen(self._new_id(), roles["frozen"], 1, True, at))
            yield self._record(at, AccountClosed(self._new_id(), roles["closed"], 1, at))

    def _rule(self, version: int) -> Rule:
        limits = {"interval_ms": 3_600_000, "max_minor": VELOCITY_LIMIT + version}
        return Rule(self._new_id(), f"{VELOCITY}:money", version, True, limits)

    def _change(self, number: int, at: int) -> Any:
        """The n-th change of settings in the stream: a new limit of an ordinary account, a rule's next version, a freeze or thaw."""
        turn, count = number % 3, number // 3 + 1
        if turn == 0:
            account = self._names[-count % len(self._names)]
            return AccountLimited(self._new_id(), account, 1 + (count - 1) // len(self._names), 100_000, 10**9, at)
        if turn == 1:
            return self._rule(count + 1)
        return AccountFrozen(self._new_id(), self._roles[0]["spare"], count, count % 2 == 1, at)

    def _plant(self, now: int) -> None:
        """The next fault in turn, so that each comes equally often."""
        names = list(self._recipes)
        count = self._turns = getattr(self, "_turns", -1) + 1
        name = names[count % len(names)]
        if name == "gate_queue" and count // len(names) % 4:  # it takes 68 payments: one time in four
            name = "zero_amount"
        currency = count % len(CURRENCIES)
        recent = self._recent[int(self._draw() * len(self._recent))][1]
        world = World(
            CURRENCIES[currency], self._roles[currency], self._roles[currency - 1]["rich"], recent, self._new_id
        )
        for step in self._recipes[name][1](world):
            self._push(now + step.delay_ms, name, step)

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self.settings.seed}-{self._ids:08d}"

    def _new(
        self,
        kind: Kind,
        debtor: str | None,
        creditor: str | None,
        minor: int,
        currency: str,
        pending: str | None = None,
        timeout: int | None = None,
        original: str | None = None,
    ) -> PaymentInitiated:
        """A payment with a new id; the claimed time is set when it is written."""
        self._ids = number = self._ids + 1
        return PaymentInitiated(
            f"{self.settings.seed}-{number:08d}",
            kind,
            debtor,
            creditor,
            Money(minor, currency),
            pending,
            timeout,
            original,
            None if number % 3 else f"order-{number}",
            _SOURCES[number & 3],
            0,
        )

    def _deposit(self, number: int) -> PaymentInitiated:
        minor = 100_000 + int(self._draw() * 900_000)
        self._funds[number] += minor
        return self._new("DEPOSIT", None, self._names[number], minor, CURRENCIES[number % len(CURRENCIES)])

    def _pick(self, currency: int) -> int:
        weights = self._weights[currency]
        return self._pools[currency][bisect_right(weights, int(self._draw() * weights[-1]))]

    def _ordinary(self, now: int) -> PaymentInitiated:
        """A payment that should go well: it takes at most half of what its debtor surely has."""
        draw, names, funds = self._draw, self._names, self._funds
        chance, currency = draw(), int(draw() * len(CURRENCIES))
        code, debtor = CURRENCIES[currency], self._pick(currency)
        minor = min(1 + int(draw() * _SCALES[int(draw() * len(_SCALES))]), funds[debtor] // 2)
        if chance < 0.2 or minor < 1:
            return self._deposit(debtor)
        creditor = self._pick(currency)
        if chance < 0.3 or creditor == debtor:
            funds[debtor] -= minor
            return self._new("WITHDRAWAL", names[debtor], None, minor, code)
        funds[debtor] -= minor
        if chance < 0.85:
            payment = self._new("TRANSFER", names[debtor], names[creditor], minor, code)
            if chance < 0.32:
                self._reverse_later(now, payment, creditor)
            return payment
        timeout = _TIMEOUTS[int(draw() * len(_TIMEOUTS))]
        hold = self._new("HOLD", names[debtor], None, minor, code, None, timeout)
        self._end_later(now, hold, names[creditor], timeout)
        return hold

    def _reverse_later(self, now: int, payment: PaymentInitiated, creditor: int) -> None:
        """All or part of a transfer comes back after 1 to 11 seconds; until then its creditor keeps the money."""
        minor, currency = payment.amount
        back = minor if self._draw() < 0.5 else (minor + 1) // 2
        reversal = self._new(
            "REVERSAL", payment.creditor_account, payment.debtor_account, back, currency, None, None, payment.payment_id
        )
        self._push(now + 1_000 + int(self._draw() * 10_000), "", reversal)

    def _end_later(self, now: int, hold: PaymentInitiated, creditor: str, timeout: int | None) -> None:
        """Most holds are captured, some in part, some are voided, some expire (or stay open)."""
        chance, (minor, currency) = self._draw(), hold.amount
        at = now + 1_000 + int(self._draw() * (min(timeout or 60_000, 60_000) - 2_000))
        debtor, pending = hold.debtor_account, hold.payment_id
        if chance < 0.55:
            self._push(at, "", self._new("CAPTURE", debtor, creditor, minor, currency, pending))
        elif chance < 0.7:
            self._push(at, "", self._new("CAPTURE", debtor, creditor, (minor + 1) // 2, currency, pending))
        elif chance < 0.85:
            self._push(at, "", self._new("VOID", debtor, None, minor, currency, pending))


def generate(settings: Settings) -> Iterator[Record]:
    """The records of these settings."""
    return iter(Generation(settings))


def differences(
    truth: dict[str, Any], statuses: dict[tuple[str, str, str], int], dead_letters: dict[str, int], duplicates: int
) -> list[str]:
    """What came out otherwise than was planted, one line each; empty when all is as it should be.

    statuses: how many records of payments.status have this (reference, status, reason); dead_letters: how many have this code; duplicates: how
    many statuses are DUPL.
    """
    found = []
    for name, fault in truth["planted"].items():
        if "status" in fault:
            seen = statuses.get((planted.PREFIX + name, fault["status"], fault["reason"]), 0)
            if seen != fault["count"]:
                found.append(f"{name}: {fault['count']} planted, {seen} are {fault['status']} {fault['reason']}")
    for code in sorted(truth["dead_letters"].keys() | dead_letters.keys()):
        want, seen = truth["dead_letters"].get(code, 0), dead_letters.get(code, 0)
        if want != seen:
            found.append(f"dead letters {code}: {want} expected, {seen} found")
    if duplicates != truth["duplicates"]:
        found.append(f"duplicates: {truth['duplicates']} planted, {duplicates} are DUPL")
    return found
