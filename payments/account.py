"""The account: three counters, limits, holds, and the rules that judge a debit (P3, P4). Money is integer minor units throughout."""

from dataclasses import dataclass, field

from payments import codes
from schemas.payments import Hold, LedgerLeg, Spending, VelocityRule
from transforms.topic_settings import DAY_MS

MEMORY_MS = 90 * DAY_MS  # how long a credit can be reversed, and how long an ended hold is told from an unknown one
MAX_LONG = 2**63 - 1
MAX_COUNTER = 2**62 - 1
"""Most that debits (posted and pending), credits and limits may reach, minor units. Unwinds always post and come on top of the credits, but
are never more than the debits: so no counter and no sum of two leaves 63 bits."""


@dataclass(slots=True)
class Account:
    """State of one account; the fields are those of schemas/payments/Account.avsc, in its order.

    balance = credits_posted - debits_posted; available = balance - debits_pending + overdraft_limit. A debit or hold above available is
    refused when asked for, never later; lowering a limit afterwards takes nothing back.
    """

    currency: str
    debits_pending: int = 0
    debits_posted: int = 0
    credits_posted: int = 0
    overdraft_limit: int = 0
    daily_limit: int | None = None
    one_in_flight: bool = False
    closed: bool = False
    frozen: bool = False
    version: int = 0
    settings: int = 0
    admin_id: str = ""
    admin_digest: bytes = b""
    day: int = 0
    spent: int = 0
    in_flight: str | None = None
    waiting: tuple[LedgerLeg, ...] = ()
    holds: dict[str, Hold] = field(default_factory=dict)
    spending: dict[str, Spending] = field(default_factory=dict)
    last_payment_id: str = ""

    @property
    def balance(self) -> int:
        return self.credits_posted - self.debits_posted

    @property
    def available(self) -> int:
        return self.credits_posted - self.debits_posted - self.debits_pending + self.overdraft_limit

    @property
    def revision(self) -> int:
        """Rises with every posting and every change of the settings."""
        return self.version + self.settings

    def judge_debit(self, minor: int, currency: str, clock: int, rules: dict[str, VelocityRule]) -> str | None:
        """Reason code why a debit or hold of `minor` units is refused at `clock`, or None. Changes nothing."""
        if self.closed:
            return codes.ACCOUNT_CLOSED
        if self.frozen:
            return codes.ACCOUNT_BLOCKED
        if currency != self.currency:
            return codes.CURRENCY_NOT_ALLOWED
        for name, rule in rules.items():
            if rule.active and self._too_fast(name, rule, minor, clock):
                return codes.FRAUD
        if self.daily_limit is not None:
            spent = self.spent if self.day == clock // DAY_MS else 0
            if spent + minor > self.daily_limit:
                return codes.LIMIT_EXCEEDED
        if minor > self.available:
            return codes.INSUFFICIENT_FUNDS
        if self.debits_posted + self.debits_pending + minor > MAX_COUNTER:
            return codes.AMOUNT_NOT_ALLOWED
        return None

    def judge_credit(self, minor: int, currency: str) -> str | None:
        """Reason code why a credit is refused, or None. A frozen account still receives."""
        if self.closed:
            return codes.ACCOUNT_CLOSED
        if currency != self.currency:
            return codes.CURRENCY_NOT_ALLOWED
        if self.credits_posted + minor > MAX_COUNTER:
            return codes.AMOUNT_NOT_ALLOWED
        return None

    def _too_fast(self, name: str, rule: VelocityRule, minor: int, clock: int) -> bool:
        held = self.spending.get(name)
        count, money = (
            (held.count, held.minor) if held is not None and held.window == clock // rule.interval_ms else (0, 0)
        )
        return (rule.max_count is not None and count >= rule.max_count) or (
            rule.max_minor is not None and money + minor > rule.max_minor
        )

    def count_debit(self, minor: int, clock: int, rules: dict[str, VelocityRule]) -> None:
        """An accepted debit or hold counts in the day's sum, whether there is a limit yet or not, and in the velocity rules."""
        today = clock // DAY_MS
        if self.day == today:
            self.spent += minor
        else:
            self.day, self.spent = today, minor
        for name, rule in rules.items():
            if rule.active:
                window, held = clock // rule.interval_ms, self.spending.get(name)
                if held is None or held.window != window:
                    self.spending[name] = Spending(window, 1, minor)
                else:
                    # Holds that come and go may add up to more than an account ever moves.
                    self.spending[name] = Spending(window, held.count + 1, min(held.minor + minor, MAX_COUNTER))

    def give_back(self, minor: int, day: int) -> None:
        """What was counted on `day` and then released or unwound counts no longer; on a later day there is nothing to give back."""
        if self.day == day:
            self.spent = max(0, self.spent - minor)
