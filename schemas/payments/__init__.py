"""Typed records of the domain `payments`. Generated from the .avsc files by `schemas.generate`."""

from typing import Any, Literal, NamedTuple

Kind = Literal["DEPOSIT", "WITHDRAWAL", "TRANSFER", "HOLD", "CAPTURE", "VOID", "REVERSAL"]
"""What a payment is."""

Leg = Literal["DEBIT", "CREDIT", "HOLD", "CAPTURE", "RELEASE", "UNWIND", "COMPLETE"]
"""What a leg does to its account."""

HoldOutcome = Literal["OPEN", "CAPTURED", "VOIDED", "EXPIRED"]
"""What became of a hold."""

Status = Literal["RCVD", "ACTC", "PDNG", "ACSP", "ACCC", "CANC", "RJCT", "DUPL"]
"""ISO 20022 transaction status."""


class Money(NamedTuple):
    """An amount in minor units of its currency; never a float.

    minor: Amount in minor units (exponent from ISO 4217).
    currency: ISO 4217 code, three letters.
    """

    minor: int
    currency: str


class LedgerLeg(NamedTuple):
    """One step of a payment on one account (key account_id).

    payment_id: Payment that the leg belongs to.
    kind: Kind of the payment.
    leg: What to do to the account.
    account_id: Account that the leg changes.
    counterparty: The other account, if the payment has one.
    amount: Amount of the leg.
    pending_id: Hold that is captured or released.
    hold_timeout_ms: HOLD: interval to its expiry.
    original_payment_id: REVERSAL: the payment that is given back.
    reference: End-to-end id.
    reason: UNWIND: the reason code of the refused credit.
    gated: The debtor lets one debit at a time go and waits for COMPLETE.
    requested_at: Claimed time of the payment.
    admitted_at: Append time of the payment on payments.incoming.
    hops: Append times of the legs before this one, in order, milliseconds since 1970 UTC.
    hop: Number of the leg in its payment, from 1.
    """

    payment_id: str
    kind: Kind
    leg: Leg
    account_id: str
    counterparty: str | None
    amount: Money
    pending_id: str | None
    hold_timeout_ms: int | None
    original_payment_id: str | None
    reference: str | None
    reason: str | None
    gated: bool
    requested_at: int
    admitted_at: int
    hops: tuple[int, ...]
    hop: int


class Hold(NamedTuple):
    """State: one hold on an account.

    amount: Held, minor units.
    day: UTC day whose limit it counts in.
    outcome: Open, or how it ended.
    until: Open: when it expires (-1 never). Ended: when it is forgotten.
    reference: End-to-end id of the hold.
    admitted_at: For elapsed times.
    """

    amount: int
    day: int
    outcome: HoldOutcome
    until: int
    reference: str | None
    admitted_at: int


class Spending(NamedTuple):
    """State: what a velocity rule has counted.

    window: Number of the interval on the clock.
    count: Debits in it.
    minor: Money of the debits in it, minor units.
    """

    window: int
    count: int  # type: ignore[assignment]
    minor: int


class Account(NamedTuple):
    """State of the account processor: one account.

    currency: ISO 4217 code.
    debits_pending: Minor units.
    debits_posted: Minor units.
    credits_posted: Minor units.
    overdraft_limit: Minor units.
    daily_limit: Minor units.
    one_in_flight: P8.
    closed: Closed.
    frozen: Frozen.
    version: Journal version.
    settings: Settings version.
    admin_id: Last administrative action.
    admin_digest: BLAKE2b of that action's value, 16 bytes: tells a repeat from another action under its id.
    day: UTC day of spent.
    spent: Debits and holds of the day, minor units.
    in_flight: payment_id of the debit that holds the gate.
    waiting: Legs behind the gate, in order.
    holds: By payment_id.
    spending: By rule name.
    last_payment_id: Of the last entry.
    """

    currency: str
    debits_pending: int
    debits_posted: int
    credits_posted: int
    overdraft_limit: int
    daily_limit: int | None
    one_in_flight: bool
    closed: bool
    frozen: bool
    version: int
    settings: int
    admin_id: str
    admin_digest: bytes
    day: int
    spent: int
    in_flight: str | None
    waiting: tuple[LedgerLeg, ...]
    holds: dict[str, Hold]
    spending: dict[str, Spending]
    last_payment_id: str


class AccountBalance(NamedTuple):
    """State of an account, newest wins (key account_id; upsert by revision).

    account_id: Account.
    currency: ISO 4217 code.
    debits_pending: Held, minor units.
    debits_posted: All debits, minor units.
    credits_posted: All credits, minor units.
    overdraft_limit: How far below zero the account may go, minor units.
    daily_limit: Most that may leave or be held in a UTC day, minor units.
    one_in_flight: One debit in flight at a time.
    closed: Closed.
    frozen: Frozen.
    balance: credits_posted - debits_posted.
    available: balance - debits_pending + overdraft_limit.
    version: Number of the last journal entry.
    revision: Rises with every change, settings too.
    last_payment_id: Payment of the last journal entry; empty before the first.
    as_of: Append time of the record of the last change.
    """

    account_id: str
    currency: str
    debits_pending: int
    debits_posted: int
    credits_posted: int
    overdraft_limit: int
    daily_limit: int | None
    one_in_flight: bool
    closed: bool
    frozen: bool
    balance: int
    available: int
    version: int
    revision: int
    last_payment_id: str
    as_of: int


class AccountClosed(NamedTuple):
    """An account closes for good (key account_id).

    admin_id: Id of the administrative action.
    account_id: Account.
    expected: Settings version that the sender saw: 0 opens; otherwise the action is refused.
    requested_at: Claimed time: data.
    """

    admin_id: str
    account_id: str
    expected: int
    requested_at: int


class AccountFrozen(NamedTuple):
    """An account is frozen or thawed (key account_id).

    admin_id: Id of the administrative action.
    account_id: Account.
    expected: Settings version that the sender saw: 0 opens; otherwise the action is refused.
    frozen: True freezes, false thaws.
    requested_at: Claimed time: data.
    """

    admin_id: str
    account_id: str
    expected: int
    frozen: bool
    requested_at: int


class AccountLimited(NamedTuple):
    """Limits of an account change (key account_id).

    admin_id: Id of the administrative action.
    account_id: Account.
    expected: Settings version that the sender saw: 0 opens; otherwise the action is refused.
    overdraft_limit: Minor units.
    daily_limit: Minor units a UTC day; null none.
    requested_at: Claimed time: data.
    """

    admin_id: str
    account_id: str
    expected: int
    overdraft_limit: int
    daily_limit: int | None
    requested_at: int


class AccountOpened(NamedTuple):
    """An account opens (key account_id, on payments.inflight).

    admin_id: Id of the administrative action.
    account_id: Account.
    expected: Settings version that the sender saw: 0 opens; otherwise the action is refused.
    currency: ISO 4217 code.
    overdraft_limit: Minor units.
    daily_limit: Minor units a UTC day.
    one_in_flight: One debit in flight at a time.
    requested_at: Claimed time: data.
    """

    admin_id: str
    account_id: str
    expected: int
    currency: str
    overdraft_limit: int
    daily_limit: int | None
    one_in_flight: bool
    requested_at: int


class VelocityRule(NamedTuple):
    """State: a velocity rule in force (FRAD).

    version: Version of the rule.
    active: In force.
    interval_ms: Length of the intervals of the clock that it counts in.
    max_count: Most debits and holds of one debtor in an interval.
    max_minor: Most money of one debtor in an interval, minor units.
    """

    version: int
    active: bool
    interval_ms: int
    max_count: int | None = None
    max_minor: int | None = None


class Ledger(NamedTuple):
    """State of a shard of the account processor besides its accounts.

    contra: Balance of each contra account of the shard (in transit, outside), minor units.
    rules: Velocity rules by name.
    credits: What may still be reversed, as payments/credits.py packs it.
    """

    contra: dict[str, int]
    rules: dict[str, VelocityRule]
    credits: bytes


class LedgerEntry(NamedTuple):
    """One line of an account's journal (key account_id): a balanced pair of the account and its contra account.

    account_id: Account.
    version: Number of the entry in the account's journal: 1, 2, 3 ...
    payment_id: Payment that caused it.
    leg: DEBIT and CAPTURE take from the account, CREDIT and UNWIND add to it, HOLD and RELEASE change what is
    pending only.
    contra: Account of this shard on the other side: in transit or outside; null for HOLD and RELEASE.
    amount: Amount posted, held or released.
    balance: Balance of the account after the entry, minor units.
    available: Available after the entry, minor units.
    pending: Held on the account after the entry, minor units.
    contra_balance: Balance of the contra account after the entry, minor units; 0 without contra.
    at: Append time of the record that caused it.
    """

    account_id: str
    version: int
    payment_id: str
    leg: Leg
    contra: str | None
    amount: Money
    balance: int
    available: int
    pending: int
    contra_balance: int
    at: int


class PaymentConfirmed(NamedTuple):
    """Money has moved (key payment_id).

    payment_id: Payment.
    kind: Kind of the payment.
    debtor_account: Account that gave.
    creditor_account: Account that received.
    amount: Amount moved.
    reference: End-to-end id.
    admitted_at: Append time on payments.incoming.
    confirmed_at: Append time of the last leg.
    hop_ms: Milliseconds of each hop, admission to first leg and so on.
    """

    payment_id: str
    kind: Kind
    debtor_account: str | None
    creditor_account: str | None
    amount: Money
    reference: str | None
    admitted_at: int
    confirmed_at: int
    hop_ms: tuple[int, ...]


class PaymentInitiated(NamedTuple):
    """A client asks for a payment (key payment_id).

    payment_id: Idempotency key, chosen by the client.
    kind: What is asked for.
    debtor_account: Account that gives; null for DEPOSIT.
    creditor_account: Account that receives; null for WITHDRAWAL, HOLD and VOID.
    amount: How much; for VOID it is not judged.
    pending_id: payment_id of the hold (CAPTURE, VOID).
    hold_timeout_ms: HOLD: expires this long after it was posted; null never expires.
    original_payment_id: payment_id of the payment to give back (REVERSAL).
    reference: End-to-end id, echoed by every status.
    source: Channel that the payment came through.
    requested_at: The client's claimed time: data, judged at admission only.
    """

    payment_id: str
    kind: Kind
    debtor_account: str | None
    creditor_account: str | None
    amount: Money
    pending_id: str | None
    hold_timeout_ms: int | None
    original_payment_id: str | None
    reference: str | None
    source: str
    requested_at: int


class PaymentOverdue(NamedTuple):
    """A payment has not come to an end within its SLA (key payment_id).

    payment_id: Payment.
    status: Its last status.
    since: Append time of its first status.
    sla_ms: The SLA that it missed.
    at: Clock at which the watchdog noticed.
    """

    payment_id: str
    status: Status
    since: int
    sla_ms: int
    at: int


class PaymentStatus(NamedTuple):
    """What became of a payment so far (key payment_id).

    payment_id: Payment.
    kind: Kind of the payment.
    status: ISO 20022 status.
    reason: ISO 20022 reason code of a refusal.
    detail: What the code does not say: already_captured, already_voided, not_found, queue_full ...
    reference: End-to-end id of the payment.
    original: DUPL and AM05: topic id/partition/offset of the first record with this id.
    amount: Amount of the payment; of a captured hold what was captured.
    stage: Stage that says so.
    attempt: True when it is about a repeated attempt; never changes the payment's own state.
    terminal: No later status of this payment follows.
    hop: The view keeps the status of the highest hop.
    at: Append time of the record that caused it.
    elapsed_ms: at minus the append time of the payment on payments.incoming.
    """

    payment_id: str
    kind: Kind
    status: Status
    reason: str | None
    detail: str | None
    reference: str | None
    original: str | None
    amount: Money
    stage: str
    attempt: bool
    terminal: bool
    hop: int
    at: int
    elapsed_ms: int


class Watched(NamedTuple):
    """State of the watchdog: one payment.

    status: Status of the highest hop so far.
    hop: That hop.
    since: Append time of its first status.
    terminal: It has come to an end.
    """

    status: Status
    hop: int
    since: int
    terminal: bool


RECORDS: dict[str, type[Any]] = {
    "payments.Money": Money,
    "payments.LedgerLeg": LedgerLeg,
    "payments.Hold": Hold,
    "payments.Spending": Spending,
    "payments.Account": Account,
    "payments.AccountBalance": AccountBalance,
    "payments.AccountClosed": AccountClosed,
    "payments.AccountFrozen": AccountFrozen,
    "payments.AccountLimited": AccountLimited,
    "payments.AccountOpened": AccountOpened,
    "payments.VelocityRule": VelocityRule,
    "payments.Ledger": Ledger,
    "payments.LedgerEntry": LedgerEntry,
    "payments.PaymentConfirmed": PaymentConfirmed,
    "payments.PaymentInitiated": PaymentInitiated,
    "payments.PaymentOverdue": PaymentOverdue,
    "payments.PaymentStatus": PaymentStatus,
    "payments.Watched": Watched,
}
