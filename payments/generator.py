"""The generator: a seeded stream of clients' records as a bank would get them, with faults planted at a known rate.

Equal settings give equal records on every machine: all choices come from `Random.random`, whose sequence Python guarantees, and none goes
through a function whose last bit a platform may round otherwise (weights are rounded to integers first).

The stream: accounts open, a velocity rule comes into force, money comes in; then payments at the rate (`traffic`), with planted faults
(`planted`) and repeats among them, and now and then a change of a limit or a rule, or a freeze.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

from payments import planted, topics
from payments.planted import ROLES, VELOCITY_LIMIT, Step, World
from payments.settings import VELOCITY
from payments.traffic import CURRENCIES, Traffic
from payments.truth import faults_of
from schemas.payments import AccountClosed, AccountFrozen, AccountLimited, AccountOpened, PaymentInitiated
from schemas.rails import Record, Rule
from transforms.registry import Registry
from transforms.topic_settings import DAY_MS

START_MS = 1_767_225_600_000  # 1 January 2026, 00:00 UTC
MIN_ACCOUNTS = 3 * len(ROLES) + 12
MIN_PAYMENTS = 100
_REGISTRY = Registry.of("rails", "payments")
_OPENING_MS = 2_000  # from the start to the first payment at the rate
_FUNDS = {"rich": 10**9, "payee": 10**9, "limited": 10**6, "frozen": 10**6, "gated": 10**6}
_DAILY = 10**11  # a daily limit that ordinary traffic does not reach
_RECENT = 256  # what repeats are taken from
_new = tuple.__new__


@dataclass(frozen=True)
class Settings:
    """What is generated. Shares are of the payments; `rate` is payments per second of log time.

    skew: 0 spreads payments evenly over the accounts; 1 gives the n-th account a weight of 1/n (Zipf), more favours the first still more.
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
        for name, least, most in (
            ("payments", MIN_PAYMENTS, 10**9),
            ("accounts", MIN_ACCOUNTS, 10**7),
            ("seed", 0, 10**9),
            ("rate", 1, 10**6),
            ("skew", 0, 3),
            ("bad", 0, 0.3),
            ("duplicates", 0, 0.3),
            ("disorder_ms", 0, DAY_MS // 2),
            ("start_ms", 2 * DAY_MS, 1 << 46),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be from {least:,} to {most:,}, got {value:,}")


class _Later(NamedTuple):
    """Something to be written at a time; `number` keeps the order of those of one time."""

    at: int
    number: int
    name: str  # of the fault, "" for ordinary traffic
    what: Any  # Step, PaymentInitiated, or a Record to be repeated


class Generation:
    """Iterating once gives the records in the order of `at`, numbered from 0; afterwards `truth()` says what was planted."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._draw = Random(settings.seed).random
        self._now = settings.start_ms
        self._offset = self.payments = self._ids = self._pushed = 0
        self._later: list[_Later] = []
        self._recent: deque[tuple[Record, PaymentInitiated]] = deque(maxlen=_RECENT)
        recipes = planted.recipes(topics.INFLIGHT.partitions)
        self._expected = {name: expected for name, (expected, _) in recipes.items()}
        self._recipes = list(recipes.items())
        self._turn = self._scheduled = self._duplicates = 0
        self._planted: Counter[str] = Counter()
        names = [f"acc-{number:07d}" for number in range(1, settings.accounts + 1)]
        self._roles = [
            dict(zip(ROLES, names[first:], strict=False))
            for first in range(0, len(CURRENCIES) * len(ROLES), len(ROLES))
        ]
        ordinary = names[len(CURRENCIES) * len(ROLES) :]
        self._traffic = Traffic(ordinary, settings.skew, self._draw, self._new_id, self._follow)

    def __iter__(self) -> Iterator[Record]:
        yield from self._beginning()
        settings, later, draw, traffic = self.settings, self._later, self._draw, self._traffic
        first, rate, total = settings.start_ms + _OPENING_MS, settings.rate, settings.payments
        bad, duplicates = settings.bad, settings.duplicates
        to_fund = min(len(traffic.accounts), total // 5)
        began, changes, every = self.payments, 0, max(50, total // 40)
        while self.payments < total:
            done = self.payments - began
            self._now = now = first + done * 1000 // rate
            if later and later[0].at <= now:
                yield self._due(heappop(later))
            elif to_fund:
                to_fund -= 1
                yield self._payment(now, traffic.deposit(to_fund))
            elif done // every > changes:
                changes += 1
                yield self._event(now, self._change(changes, now))
            elif self._scheduled < bad * done and draw() < 0.5:
                self._plant(now)
            elif self._duplicates < duplicates * done and draw() < 0.5:
                yield self._again(now, self._recent[int(draw() * len(self._recent))][0])
            else:
                yield self._payment(now, traffic.next())

    def truth(self) -> dict[str, Any]:
        """What the stream holds so far, and what must become of the planted faults; plain JSON."""
        return {
            "records": self._offset,
            "payments": self.payments,
            "accounts": self.settings.accounts,
            "duplicates": self._duplicates,
            **faults_of(self._planted, self._expected),
        }

    # --- records ---

    def _payment(self, at: int, payment: PaymentInitiated) -> Record:
        """An ordinary payment."""
        claimed = at - int(self._draw() * self.settings.disorder_ms)
        payment = _new(PaymentInitiated, (*payment[:-1], claimed))
        record = self._record(at, payment.payment_id.encode(), _REGISTRY.encode(payment))
        self.payments += 1
        self._recent.append((record, payment))
        return record

    def _event(self, at: int, event: Any) -> Record:
        """An account change or a rule, which is a broadcast and has no key."""
        return self._record(at, None if isinstance(event, Rule) else event.account_id.encode(), _REGISTRY.encode(event))

    def _record(self, at: int, key: bytes | None, value: bytes | None) -> Record:
        self._offset = offset = self._offset + 1
        return _new(Record, (offset - 1, at, key, value, None, ()))

    def _again(self, at: int, record: Record) -> Record:
        self.payments += 1
        self._duplicates += 1
        return self._record(at, record.key, record.value)

    def _push(self, at: int, name: str, what: Any) -> None:
        self._pushed += 1
        heappush(self._later, _Later(at, self._pushed, name, what))

    def _follow(self, after_ms: int, payment: PaymentInitiated) -> None:
        self._push(self._now + after_ms, "", payment)

    def _due(self, item: _Later) -> Record:
        at, _, name, what = item
        if isinstance(what, PaymentInitiated):
            return self._payment(at, what)
        return self._step(at, name, what) if isinstance(what, Step) else self._again(at, what)

    # --- faults ---

    def _plant(self, now: int) -> None:
        """The next fault in turn, so that each comes equally often."""
        turn, self._turn = self._turn, self._turn + 1
        name, (_, recipe) = self._recipes[turn % len(self._recipes)]
        if name == "gate_queue" and turn // len(self._recipes) % 4:
            return  # it takes 68 payments: one time in four
        currency = turn % len(CURRENCIES)
        recent = self._recent[int(self._draw() * len(self._recent))][1]
        foreign = self._roles[currency - 1]["rich"]
        for step in recipe(World(CURRENCIES[currency], self._roles[currency], foreign, recent, self._new_id)):
            self._push(now + step.delay_ms, name, step)
            self._scheduled += step.bad

    def _step(self, at: int, name: str, step: Step) -> Record:
        event, key = step.event, step.key
        if isinstance(event, PaymentInitiated):
            claim = step.claim_ms if step.claim_ms is not None else -int(self._draw() * self.settings.disorder_ms)
            reference = planted.PREFIX + name if step.bad else None
            event = event._replace(requested_at=at + claim, reference=reference)
        if key is None:
            key = b"" if isinstance(event, Rule) else (getattr(event, "account_id", None) or event.payment_id).encode()
        value: bytes | None = _REGISTRY.encode(event)
        if value is not None and step.corrupt is not None:
            value = step.corrupt(value)
        self.payments += 1
        self._planted[name] += step.bad
        record = self._record(at, key or None, value)
        if step.again_ms is not None:
            self._push(at + step.again_ms, name, record)
        return record

    # --- administration ---

    def _beginning(self) -> Iterator[Record]:
        """All accounts open; those with a role get its properties, some of the others an overdraft, a daily limit or the gate."""
        start = self.settings.start_ms
        for currency, roles in zip(CURRENCIES, self._roles, strict=True):
            for role, account in roles.items():
                daily = planted.DAILY_LIMIT if role == "limited" else None
                yield self._event(start, self._opened(account, currency, 0, daily, role == "gated"))
        accounts = self._traffic.accounts
        for number, account in enumerate(accounts):
            overdraft, daily = 50_000 if number % 4 == 3 else 0, None if number % 5 else _DAILY
            currency = CURRENCIES[number % len(CURRENCIES)]
            gated = number % 8 == 7 and number >= len(accounts) // 2  # hot accounts would fill their queues
            yield self._event(start, self._opened(account, currency, overdraft, daily, gated))
        yield self._event(start, self._rule(1))
        for currency, roles in zip(CURRENCIES, self._roles, strict=True):
            for role, minor in _FUNDS.items():
                deposit = self._traffic.payment("DEPOSIT", None, roles[role], minor, currency)
                yield self._payment(start + 1, deposit)
        at = start + _OPENING_MS // 2
        for roles in self._roles:
            yield self._event(at, AccountFrozen(self._new_id(), roles["frozen"], 1, True, at))
            yield self._event(at, AccountClosed(self._new_id(), roles["closed"], 1, at))

    def _opened(self, account: str, currency: str, overdraft: int, daily: int | None, gated: bool) -> AccountOpened:
        return AccountOpened(self._new_id(), account, 0, currency, overdraft, daily, gated, self.settings.start_ms)

    def _rule(self, version: int) -> Rule:
        limits = {"interval_ms": 3_600_000, "max_minor": VELOCITY_LIMIT + version}
        return Rule(self._new_id(), f"{VELOCITY}:money", version, True, limits)

    def _change(self, number: int, at: int) -> AccountLimited | AccountFrozen | Rule:
        """The n-th change in the stream: a higher limit of an ordinary account, a rule's next version, a freeze or thaw."""
        turn, count = number % 3, number // 3
        if turn == 1:
            accounts = self._traffic.accounts
            return AccountLimited(
                self._new_id(), accounts[-1 - count % len(accounts)], 1 + count // len(accounts), 100_000, _DAILY, at
            )
        if turn == 2:
            return self._rule(count + 2)
        return AccountFrozen(self._new_id(), self._roles[0]["spare"], count, count % 2 == 1, at)

    def _new_id(self) -> str:
        self._ids = number = self._ids + 1
        return f"{self.settings.seed}-{number:08d}"
