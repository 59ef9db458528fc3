"""The account processor: posts or refuses legs (P2, P3, P4, P6, P8). Keyed by account; both legs of a payment come to this one class.

A debit is posted on the debtor's shard, and only then is the credit leg sent to the creditor's; a credit that cannot be posted sends an
UNWIND back. Every posting is a balanced pair: the account on one side, a contra account of the same shard on the other
(in transit between shards, or the outside world), so the postings of a partition sum to zero after every record.
"""

import itertools
from collections.abc import Callable

from payments import codes, topics
from payments.account import DAY_MS, Account
from payments.admission import is_account_id
from payments.currencies import EXPONENTS
from schemas import load_schema
from schemas.payments import (
    RECORDS,
    AccountBalance,
    AccountClosed,
    AccountFrozen,
    AccountLimited,
    AccountOpened,
    Credit,
    Hold,
    Kind,
    Ledger,
    LedgerEntry,
    LedgerLeg,
    Leg,
    Money,
    PaymentConfirmed,
    PaymentStatus,
    Status,
    VelocityRule,
)
from schemas.rails import Rule
from transforms.avro import compile_codec
from transforms.errors import BadRecord
from transforms.fold import Context, Processor

MEMORY_MS = 90 * DAY_MS  # how long a credit can be reversed, and how long an ended hold is told from an unknown one
MAX_WAITING = 64  # debits that may wait behind the gate of one account
NEVER = -1
VELOCITY = "velocity"  # a Rule of this name, or of a name that begins with it and a colon, is a velocity rule

_TYPES = {**RECORDS, "payments.Account": Account}
_DEBITS = frozenset({"DEBIT", "CAPTURE"})


def new_ledger() -> Ledger:
    return Ledger({}, {})


class AccountProcessor(Processor):
    """Decides every change of an account, in the order of the account's partition of payments.inflight."""

    stage = "payments.accounts"
    reads = (LedgerLeg, AccountOpened, AccountLimited, AccountFrozen, AccountClosed, Rule)
    entity_codec = compile_codec(load_schema("payments.Account"), _TYPES)
    shared_codec = compile_codec(load_schema("payments.Ledger"), RECORDS)

    def __init__(self) -> None:
        self._legs: dict[str, Callable[[str, Account | None, LedgerLeg, Context], None]] = {
            "DEBIT": self._debit,
            "CREDIT": self._credit,
            "HOLD": self._hold,
            "CAPTURE": self._capture,
            "RELEASE": self._release,
            "UNWIND": self._unwind,
            "COMPLETE": self._complete,
        }

    def new_shared(self) -> Ledger:
        return new_ledger()

    def key(self, event: LedgerLeg | AccountOpened | Rule) -> str | None:
        return None if isinstance(event, Rule) else event.account_id

    def on_event(self, key: str, entity: Account | None, event: object, context: Context) -> Account | None:
        if type(event) is LedgerLeg:
            if event.amount.minor <= 0 and event.leg != "RELEASE":
                raise BadRecord("BAD_LEG", "amount is not positive")
            self._legs[event.leg](key, entity, event, context)
            return entity
        return self._administer(key, entity, event, context)

    # --- legs ---

    def _debit(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        if account is not None and account.in_flight is not None:
            self._wait(account, leg, context)
            return
        clock, minor, rules = context.clock, leg.amount.minor, context.shared.rules
        detail = None
        if account is None:
            reason: str | None = codes.UNKNOWN_DEBTOR
        else:
            reason = account.judge_debit(minor, leg.amount.currency, clock, rules)
            if reason is None and leg.kind == "REVERSAL":
                reason, detail = _judge_reversal(account, leg, clock)
        if account is None or reason is not None:
            self._refuse(leg, context, reason, detail)
            return
        account.count_debit(minor, clock, rules)
        account.debits_posted += minor
        if leg.kind == "REVERSAL":
            original = leg.original_payment_id or ""
            credit = account.credits[original]
            account.credits[original] = credit._replace(left=credit.left - minor)
        if leg.kind == "WITHDRAWAL":
            self._entry(
                key, account, leg.payment_id, leg.leg, leg.amount, context, self._outside(leg.amount, minor, context)
            )
            self._confirm(leg, key, None, context)
        else:
            self._entry(
                key, account, leg.payment_id, leg.leg, leg.amount, context, self._transit(leg.amount, minor, context)
            )
            self._send_credit(account, leg, context)

    def _send_credit(self, account: Account, leg: LedgerLeg, context: Context) -> None:
        """The money has left the debtor: tell so, and send it on."""
        if account.one_in_flight:
            account.in_flight = leg.payment_id
        creditor = leg.counterparty or ""
        context.emit(
            topics.INFLIGHT, creditor, _next_leg(leg, "CREDIT", creditor, context.at, gated=account.one_in_flight)
        )
        self._status(leg, "ACSP", context)

    def _credit(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        minor, currency = leg.amount
        reason = codes.UNKNOWN_CREDITOR if account is None else account.judge_credit(minor, currency)
        if account is None or reason is not None:
            if leg.counterparty is None:
                self._refuse(leg, context, reason)
            else:
                context.emit(
                    topics.INFLIGHT,
                    leg.counterparty,
                    _next_leg(leg, "UNWIND", leg.counterparty, context.at, reason=reason),
                )
            return
        account.credits_posted += minor
        if leg.counterparty is None:
            contra = self._outside(leg.amount, -minor, context)
        else:
            contra = self._transit(leg.amount, -minor, context)
            if leg.kind != "REVERSAL":
                _remember_credit(account, leg, context.clock)
        self._entry(key, account, leg.payment_id, leg.leg, leg.amount, context, contra)
        self._confirm(leg, leg.counterparty, key, context)
        if leg.gated and leg.counterparty is not None:
            context.emit(topics.INFLIGHT, leg.counterparty, _next_leg(leg, "COMPLETE", leg.counterparty, context.at))

    def _unwind(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        """Always posts: the money is on its way back."""
        if account is None:
            raise BadRecord("UNKNOWN_ACCOUNT", "an unwind for an account that is not here")
        account.credits_posted += leg.amount.minor
        hold = account.holds.get(leg.pending_id or "") if leg.kind == "CAPTURE" else None
        if hold is not None:
            account.give_back(leg.amount.minor, hold.day)
        elif leg.kind != "CAPTURE" and leg.hops:
            account.give_back(leg.amount.minor, leg.hops[0] // DAY_MS)
        if leg.kind == "REVERSAL":
            credit = account.credits.get(leg.original_payment_id or "")
            if credit is not None:
                account.credits[leg.original_payment_id or ""] = credit._replace(left=credit.left + leg.amount.minor)
        contra = self._transit(leg.amount, -leg.amount.minor, context)
        self._entry(key, account, leg.payment_id, "UNWIND", leg.amount, context, contra)
        self._refuse(leg, context, leg.reason)
        if account.in_flight == leg.payment_id:
            self._open_gate(key, account, context)

    def _hold(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        clock, minor, rules = context.clock, leg.amount.minor, context.shared.rules
        if account is None:
            self._refuse(leg, context, codes.UNKNOWN_DEBTOR)
            return
        reason = account.judge_debit(minor, leg.amount.currency, clock, rules)
        if reason is None and leg.payment_id in account.holds:
            reason = codes.DUPLICATE  # an id that admission has forgotten already, used again
        if reason is not None:
            self._refuse(leg, context, reason)
            return
        account.count_debit(minor, clock, rules)
        account.debits_pending += minor
        until = NEVER if leg.hold_timeout_ms is None else clock + leg.hold_timeout_ms
        account.holds[leg.payment_id] = Hold(minor, clock // DAY_MS, "OPEN", until, leg.reference, leg.admitted_at)
        if until != NEVER:
            context.set_deadline(leg.payment_id, until)
        self._entry(key, account, leg.payment_id, "HOLD", leg.amount, context, None)
        self._status(leg, "PDNG", context)

    def _capture(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        """Posts all or part of a hold and releases the rest. A frozen account's earlier holds may be captured, a closed one's not."""
        if account is not None and account.in_flight is not None:
            self._wait(account, leg, context)
            return
        hold_id, minor = leg.pending_id or "", leg.amount.minor
        if account is None:
            self._refuse(leg, context, codes.UNKNOWN_DEBTOR)
            return
        hold = account.holds.get(hold_id)
        reason, detail = _judge_hold(hold)
        if reason is None:
            if account.closed:
                reason = codes.ACCOUNT_CLOSED
            elif leg.amount.currency != account.currency:
                reason = codes.CURRENCY_NOT_ALLOWED
            elif hold is not None and minor > hold.amount:
                reason, detail = codes.AMOUNT_NOT_ALLOWED, "more than held"
        if hold is None or reason is not None:
            self._refuse(leg, context, reason, detail)
            return
        account.debits_pending -= minor
        account.debits_posted += minor
        self._entry(
            key, account, leg.payment_id, "CAPTURE", leg.amount, context, self._transit(leg.amount, minor, context)
        )
        if hold.amount > minor:
            self._free(key, account, leg.payment_id, hold, hold.amount - minor, context)
        self._end_hold(account, hold_id, hold, "CAPTURED", context)
        self._hold_status(hold_id, hold, "ACCC", leg.amount, context)
        self._send_credit(account, leg, context)

    def _release(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        """VOID: always posts while the hold is open."""
        hold_id = leg.pending_id or ""
        hold = None if account is None else account.holds.get(hold_id)
        reason, detail = (codes.UNKNOWN_DEBTOR, None) if account is None else _judge_hold(hold)
        if account is None or hold is None or reason is not None:
            self._refuse(leg, context, reason, detail)
            return
        self._free(key, account, leg.payment_id, hold, hold.amount, context)
        self._end_hold(account, hold_id, hold, "VOIDED", context)
        self._hold_status(hold_id, hold, "CANC", Money(hold.amount, account.currency), context)
        self._status(leg, "ACCC", context)

    def _complete(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        if account is None or account.in_flight != leg.payment_id:
            raise BadRecord("BAD_LEG", "COMPLETE for a payment that does not hold the gate")
        self._open_gate(key, account, context)

    # --- the gate (P8) ---

    def _wait(self, account: Account, leg: LedgerLeg, context: Context) -> None:
        if len(account.waiting) >= MAX_WAITING:
            self._refuse(leg, context, codes.NARRATIVE, "queue_full")
        else:
            account.waiting += (leg,)

    def _open_gate(self, key: str, account: Account, context: Context) -> None:
        """Lets the debits that wait go on, one after another, until one of them is in flight. They are judged now."""
        account.in_flight = None
        while account.waiting and account.in_flight is None:
            leg, account.waiting = account.waiting[0], account.waiting[1:]
            self._legs[leg.leg](key, account, leg, context)

    # --- holds ---

    def on_deadline(self, key: str, entity: Account, deadline: str, context: Context) -> Account:
        """A hold expires, or an ended one is forgotten; the name of the deadline is the hold's payment_id."""
        hold = entity.holds[deadline]
        if hold.outcome != "OPEN":
            del entity.holds[deadline]
            return entity
        self._free(key, entity, deadline, hold, hold.amount, context)
        self._end_hold(entity, deadline, hold, "EXPIRED", context)
        self._hold_status(deadline, hold, "CANC", Money(hold.amount, entity.currency), context, codes.HOLD_EXPIRED)
        return entity

    def _free(self, key: str, account: Account, payment_id: str, hold: Hold, minor: int, context: Context) -> None:
        account.debits_pending -= minor
        account.give_back(minor, hold.day)
        self._entry(key, account, payment_id, "RELEASE", Money(minor, account.currency), context, None)

    def _end_hold(self, account: Account, hold_id: str, hold: Hold, outcome: str, context: Context) -> None:
        until = context.clock + MEMORY_MS
        account.holds[hold_id] = hold._replace(outcome=outcome, until=until)  # type: ignore[arg-type]
        context.set_deadline(hold_id, until)

    # --- postings ---

    def _transit(self, amount: Money, minor: int, context: Context) -> tuple[str, int]:
        return self._contra("transit", amount.currency, minor, context)

    def _outside(self, amount: Money, minor: int, context: Context) -> tuple[str, int]:
        return self._contra("outside", amount.currency, minor, context)

    def _contra(self, what: str, currency: str, minor: int, context: Context) -> tuple[str, int]:
        """Posts the other side of a pair; gives the contra account and its balance afterwards."""
        name = f"~{what}/{context.partition}/{currency}"
        balances = context.shared.contra
        balance = balances[name] = balances.get(name, 0) + minor
        return name, balance

    def _entry(
        self,
        key: str,
        account: Account,
        payment_id: str,
        leg: Leg,
        amount: Money,
        context: Context,
        contra: tuple[str, int] | None,
    ) -> None:
        """Writes one line of the journal, and the account's new state."""
        account.version += 1
        account.last_payment_id = payment_id
        balance = account.credits_posted - account.debits_posted
        pending = account.debits_pending
        name, contra_balance = contra or (None, 0)
        context.emit(
            topics.JOURNAL,
            key,
            LedgerEntry(
                key,
                account.version,
                payment_id,
                leg,
                name,
                amount,
                balance,
                balance - pending + account.overdraft_limit,
                pending,
                contra_balance,
                context.at,
            ),
        )
        self._publish(key, account, context)

    def _publish(self, key: str, account: Account, context: Context) -> None:
        context.upsert(
            topics.BALANCES,
            key,
            AccountBalance(
                key,
                account.currency,
                account.debits_pending,
                account.debits_posted,
                account.credits_posted,
                account.overdraft_limit,
                account.daily_limit,
                account.one_in_flight,
                account.closed,
                account.frozen,
                account.balance,
                account.available,
                account.version,
                account.revision,
                account.last_payment_id,
                context.at,
            ),
            account.revision,
        )

    # --- statuses ---

    def _refuse(self, leg: LedgerLeg, context: Context, reason: str | None, detail: str | None = None) -> None:
        self._status(leg, "RJCT", context, reason, detail)

    def _confirm(self, leg: LedgerLeg, debtor: str | None, creditor: str | None, context: Context) -> None:
        """The last leg is posted."""
        at = context.at
        times = (leg.admitted_at, *leg.hops, at)
        context.emit(
            topics.CONFIRMED,
            leg.payment_id,
            PaymentConfirmed(
                leg.payment_id,
                leg.kind,
                debtor,
                creditor,
                leg.amount,
                leg.reference,
                leg.admitted_at,
                at,
                tuple(b - a for a, b in itertools.pairwise(times)),
            ),
        )
        self._status(leg, "ACCC", context)

    def _status(
        self, leg: LedgerLeg, status: Status, context: Context, reason: str | None = None, detail: str | None = None
    ) -> None:
        self._say(
            leg.payment_id,
            leg.kind,
            status,
            reason,
            detail,
            leg.reference,
            leg.amount,
            leg.hop,
            leg.admitted_at,
            context,
        )

    def _hold_status(
        self, hold_id: str, hold: Hold, status: Status, amount: Money, context: Context, reason: str | None = None
    ) -> None:
        """How a hold ended; its PDNG was hop 1."""
        self._say(hold_id, "HOLD", status, reason, None, hold.reference, amount, 2, hold.admitted_at, context)

    def _say(
        self,
        payment_id: str,
        kind: Kind,
        status: Status,
        reason: str | None,
        detail: str | None,
        reference: str | None,
        amount: Money,
        hop: int,
        admitted_at: int,
        context: Context,
    ) -> None:
        at = context.at
        terminal = status in ("ACCC", "CANC", "RJCT")
        context.emit(
            topics.STATUS,
            payment_id,
            PaymentStatus(
                payment_id,
                kind,
                status,
                reason,
                detail,
                reference,
                None,
                amount,
                self.stage,
                False,
                terminal,
                hop,
                at,
                at - admitted_at,
            ),
        )

    # --- administration ---

    def on_broadcast(self, event: Rule, context: Context) -> None:
        """A velocity rule: parameters interval_ms, and max_count or max_minor or both."""
        if event.name != VELOCITY and not event.name.startswith(VELOCITY + ":"):
            return
        rules, parameters = context.shared.rules, event.parameters
        held = rules.get(event.name)
        if held is not None and event.version <= held.version:
            context.count_as_duplicate()
            return
        interval = parameters.get("interval_ms", 0)
        if interval < 1:
            raise BadRecord("BAD_RULE", "interval_ms must be positive")
        rules[event.name] = VelocityRule(
            event.version, event.active, interval, parameters.get("max_count"), parameters.get("max_minor")
        )

    def _administer(self, key: str, account: Account | None, event: object, context: Context) -> Account:
        """Account changes carry an id and the settings version that they expect (contract line 11)."""
        assert isinstance(event, AccountOpened | AccountLimited | AccountFrozen | AccountClosed)
        if account is not None and event.admin_id == account.admin_id:
            context.count_as_duplicate()
            return account
        if event.expected != (0 if account is None else account.settings):
            raise BadRecord("STALE_SETTINGS", "the account has other settings than the sender saw")
        if isinstance(event, AccountOpened | AccountLimited) and (
            event.overdraft_limit < 0 or (event.daily_limit or 0) < 0
        ):
            raise BadRecord("BAD_LIMIT", "limits must not be negative")
        if isinstance(event, AccountOpened):
            if not is_account_id(key) or event.currency not in EXPONENTS:
                raise BadRecord("BAD_ACCOUNT", "account id or currency is not allowed")
            account = Account(
                event.currency,
                overdraft_limit=event.overdraft_limit,
                daily_limit=event.daily_limit,
                one_in_flight=event.one_in_flight,
            )
        elif account is None:
            raise BadRecord("UNKNOWN_ACCOUNT", "the account was never opened")
        elif isinstance(event, AccountLimited):
            account.overdraft_limit, account.daily_limit = event.overdraft_limit, event.daily_limit
        elif isinstance(event, AccountFrozen):
            account.frozen = event.frozen
        else:
            account.closed = True
        account.settings += 1
        account.admin_id = event.admin_id
        self._publish(key, account, context)
        return account


def _next_leg(
    leg: LedgerLeg, what: Leg, account_id: str, at: int, gated: bool | None = None, reason: str | None = None
) -> LedgerLeg:
    """The leg that follows `leg`, on the other account."""
    return LedgerLeg(
        leg.payment_id,
        leg.kind,
        what,
        account_id,
        leg.account_id,
        leg.amount,
        leg.pending_id,
        None,
        leg.original_payment_id,
        leg.reference,
        reason,
        leg.gated if gated is None else gated,
        leg.requested_at,
        leg.admitted_at,
        (*leg.hops, at),
        leg.hop + 1,
    )


def _judge_hold(hold: Hold | None) -> tuple[str | None, str | None]:
    """Why a hold cannot be captured or voided any more, as (reason, detail). A hold resolves once."""
    if hold is None:
        return codes.NARRATIVE, "not_found"
    if hold.outcome == "CAPTURED":
        return codes.NARRATIVE, "already_captured"
    if hold.outcome == "VOIDED":
        return codes.NARRATIVE, "already_voided"
    if hold.outcome == "EXPIRED":
        return codes.HOLD_EXPIRED, "expired"
    return None, None


def _judge_reversal(account: Account, leg: LedgerLeg, clock: int) -> tuple[str | None, str | None]:
    """A reversal gives back a credit of the last 90 days, at most what is left of it, to the one who paid."""
    credit = account.credits.get(leg.original_payment_id or "")
    if credit is None or credit.at + MEMORY_MS <= clock:
        return codes.NARRATIVE, "original_not_found"
    if credit.debtor != leg.counterparty:
        return codes.UNKNOWN_CREDITOR, "the original was paid by another account"
    if leg.amount.minor > credit.left:
        return codes.AMOUNT_NOT_ALLOWED, "more than is left to reverse"
    return None, None


def _remember_credit(account: Account, leg: LedgerLeg, clock: int) -> None:
    """Keeps the credit for a reversal and forgets those that are too old; the oldest stand first."""
    held = account.credits
    while held:
        oldest = next(iter(held))
        if held[oldest].at + MEMORY_MS > clock:
            break
        del held[oldest]
    held.pop(leg.payment_id, None)
    held[leg.payment_id] = Credit(leg.counterparty or "", leg.amount.minor, clock)
