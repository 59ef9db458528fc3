"""The account processor: posts or refuses legs (P2, P3, P4, P6, P8). Keyed by account; both legs of a payment come to this one class.

A debit is posted on the debtor's shard, and only then is the credit leg sent to the creditor's; a credit that cannot be posted sends an
UNWIND back. Every posting is a balanced pair: the account on one side, a contra account of the same shard on the other
(in transit between shards, or the outside world), so the postings of a partition sum to zero after every record.
"""

import itertools
from collections.abc import Callable

from payments import codes, topics
from payments.account import MAX_COUNTER, MEMORY_MS, Account
from payments.credits import Credit, Credits
from payments.ledger import NO_BOUNDS, Ledger, LedgerCodec
from payments.settings import AccountEvent, change_account, change_rules
from schemas import load_schema
from schemas.payments import (
    RECORDS,
    AccountBalance,
    AccountClosed,
    AccountFrozen,
    AccountLimited,
    AccountOpened,
    Hold,
    Kind,
    LedgerEntry,
    LedgerLeg,
    Leg,
    Money,
    PaymentConfirmed,
    PaymentStatus,
    Status,
)
from schemas.rails import Rule
from transforms.avro import compile_codec
from transforms.errors import BadRecord
from transforms.fold import Context, Processor
from transforms.topic_settings import DAY_MS

MAX_WAITING = 64  # debits that may wait behind the gate of one account
NEVER = -1

_TYPES = {**RECORDS, "payments.Account": Account}


class AccountProcessor(Processor):
    """Decides every change of an account, in the order of the account's partition of payments.inflight."""

    stage = "payments.accounts"
    reads = (LedgerLeg, AccountOpened, AccountLimited, AccountFrozen, AccountClosed, Rule)
    entity_codec = compile_codec(load_schema("payments.Account"), _TYPES, **NO_BOUNDS)

    def __init__(self, reversal_ms: int = MEMORY_MS) -> None:
        """`reversal_ms`: how long a credit can be reversed, and an ended hold is told from an unknown one."""
        if reversal_ms < 1:
            raise ValueError(f"reversal_ms must be positive, got {reversal_ms}")
        self.reversal_ms = reversal_ms
        self.shared_codec = LedgerCodec(reversal_ms)
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
        return Ledger(credits=Credits(self.reversal_ms))

    def key(self, event: LedgerLeg | AccountEvent | Rule) -> str | None:
        return None if isinstance(event, Rule) else event.account_id

    def on_event(
        self, key: str, entity: Account | None, event: LedgerLeg | AccountEvent, context: Context
    ) -> Account | None:
        if isinstance(event, LedgerLeg):
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
        if account is None:
            self._refuse(leg, context, codes.UNKNOWN_DEBTOR)
            return
        minor, currency = leg.amount
        clock, rules = context.clock, context.shared.rules
        contra = _contra("outside" if leg.kind == "WITHDRAWAL" else "transit", currency, context)
        reason, detail = account.judge_debit(minor, currency, clock, rules), None
        if reason is None and leg.kind == "REVERSAL":
            credit = context.shared.credits.get(key, leg.original_payment_id or "")
            reason, detail = _judge_reversal(credit, leg, clock - self.reversal_ms)
        if reason is None and _is_full(contra, minor, context):
            reason = codes.AMOUNT_NOT_ALLOWED
        if reason is not None:
            self._refuse(leg, context, reason, detail)
            return
        account.count_debit(minor, clock, rules)
        account.debits_posted += minor
        if leg.kind == "REVERSAL":
            context.shared.credits.add(key, leg.original_payment_id or "", -minor)
        self._entry(key, account, leg.payment_id, "DEBIT", leg.amount, context, contra, minor)
        if leg.kind == "WITHDRAWAL":
            self._confirm(leg, key, None, context)
        else:
            self._send_credit(account, leg, context)

    def _send_credit(self, account: Account, leg: LedgerLeg, context: Context) -> None:
        """The money has left the debtor: tell so, and send it on."""
        if account.one_in_flight:
            account.in_flight = leg.payment_id
        creditor = leg.counterparty or ""
        gated = account.one_in_flight
        context.emit(topics.INFLIGHT, creditor, _next_leg(leg, "CREDIT", creditor, context.at, gated))
        self._status(leg, "ACSP", context)

    def _credit(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        minor, currency = leg.amount
        debtor = leg.counterparty
        contra = _contra("outside" if debtor is None else "transit", currency, context)
        reason = codes.UNKNOWN_CREDITOR if account is None else account.judge_credit(minor, currency)
        if reason is None and _is_full(contra, -minor, context):
            reason = codes.AMOUNT_NOT_ALLOWED
        if account is None or reason is not None:
            if debtor is None:
                self._refuse(leg, context, reason)
            else:
                context.emit(topics.INFLIGHT, debtor, _next_leg(leg, "UNWIND", debtor, context.at, leg.gated, reason))
            return
        account.credits_posted += minor
        if debtor is not None and leg.kind != "REVERSAL":
            context.shared.credits.remember(key, leg.payment_id, debtor, minor, context.clock)
        self._entry(key, account, leg.payment_id, "CREDIT", leg.amount, context, contra, -minor)
        self._confirm(leg, debtor, key, context)
        if leg.gated and debtor is not None:
            context.emit(topics.INFLIGHT, debtor, _next_leg(leg, "COMPLETE", debtor, context.at, True))

    def _unwind(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        """Always posts: the money is on its way back. A captured hold stays captured; what can be reversed is as it was."""
        if account is None:
            raise BadRecord("UNKNOWN_ACCOUNT", "an unwind for an account that is not here")
        minor, currency = leg.amount
        account.credits_posted += minor
        if leg.kind == "CAPTURE":
            hold = account.holds.get(leg.pending_id or "")
            if hold is not None:  # it is kept far longer than a credit is under way
                account.give_back(minor, hold.day)
        elif leg.hops:
            account.give_back(minor, leg.hops[0] // DAY_MS)
        if leg.kind == "REVERSAL":
            context.shared.credits.add(key, leg.original_payment_id or "", minor)
        contra = _contra("transit", currency, context)
        self._entry(key, account, leg.payment_id, "UNWIND", leg.amount, context, contra, -minor)
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
        self._entry(key, account, leg.payment_id, "HOLD", leg.amount, context)
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
        contra = _contra("transit", leg.amount.currency, context)
        if reason is None:
            if account.closed:
                reason = codes.ACCOUNT_CLOSED
            elif leg.amount.currency != account.currency:
                reason = codes.CURRENCY_NOT_ALLOWED
            elif hold is not None and minor > hold.amount:
                reason, detail = codes.AMOUNT_NOT_ALLOWED, "more than held"
            elif _is_full(contra, minor, context):
                reason = codes.AMOUNT_NOT_ALLOWED
        if hold is None or reason is not None:
            self._refuse(leg, context, reason, detail)
            return
        account.debits_pending -= minor
        account.debits_posted += minor
        self._entry(key, account, leg.payment_id, "CAPTURE", leg.amount, context, contra, minor)
        if hold.amount > minor:
            self._free(key, account, leg.payment_id, hold, hold.amount - minor, context)
        self._end_hold(account, hold_id, hold, "CAPTURED", context)
        self._hold_status(hold_id, hold, "ACCC", leg.amount, context)
        self._send_credit(account, leg, context)

    def _release(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        """VOID: always posts while the hold is open. It frees all that is held, whatever amount it names itself."""
        hold_id = leg.pending_id or ""
        hold = None if account is None else account.holds.get(hold_id)
        reason, detail = (codes.UNKNOWN_DEBTOR, None) if account is None else _judge_hold(hold)
        if account is None or hold is None or reason is not None:
            self._refuse(leg, context, reason, detail)
            return
        self._free(key, account, leg.payment_id, hold, hold.amount, context)
        self._end_hold(account, hold_id, hold, "VOIDED", context)
        freed = Money(hold.amount, account.currency)
        self._hold_status(hold_id, hold, "CANC", freed, context)
        self._status(leg._replace(amount=freed), "ACCC", context)

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
        self._entry(key, account, payment_id, "RELEASE", Money(minor, account.currency), context)

    def _end_hold(self, account: Account, hold_id: str, hold: Hold, outcome: str, context: Context) -> None:
        until = context.clock + self.reversal_ms
        account.holds[hold_id] = hold._replace(outcome=outcome, until=until)  # type: ignore[arg-type]
        context.set_deadline(hold_id, until)

    # --- postings ---

    def _entry(
        self,
        key: str,
        account: Account,
        payment_id: str,
        leg: Leg,
        amount: Money,
        context: Context,
        contra: str | None = None,
        minor: int = 0,
    ) -> None:
        """Writes one line of the journal and the account's new state; posts `minor` to the contra account, the other side of the pair."""
        account.version += 1
        account.last_payment_id = payment_id
        contra_balance = 0
        if contra is not None:
            balances = context.shared.contra
            contra_balance = balances[contra] = balances.get(contra, 0) + minor
        balance = account.credits_posted - account.debits_posted
        pending = account.debits_pending
        available = balance - pending + account.overdraft_limit
        entry = LedgerEntry(
            key,
            account.version,
            payment_id,
            leg,
            contra,
            amount,
            balance,
            available,
            pending,
            contra_balance,
            context.at,
        )
        context.emit(topics.JOURNAL, key, entry)
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
                tuple([b - a for a, b in itertools.pairwise(times)]),
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
        if not change_rules(context.shared.rules, event):
            context.count_as_duplicate()

    def _administer(self, key: str, account: Account | None, event: AccountEvent, context: Context) -> Account | None:
        assert context.value is not None  # a record without value is a dead letter before it comes here
        changed = change_account(key, account, event, context.value)
        if changed is None:
            context.count_as_duplicate()
            return account
        self._publish(key, changed, context)
        return changed


def _next_leg(leg: LedgerLeg, what: Leg, account_id: str, at: int, gated: bool, reason: str | None = None) -> LedgerLeg:
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
        gated,
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


def _judge_reversal(credit: Credit | None, leg: LedgerLeg, oldest: int) -> tuple[str | None, str | None]:
    """A reversal gives back a credit that was posted after `oldest`, at most what is left of it, to the one who paid."""
    if credit is None or credit.at <= oldest:
        return codes.NARRATIVE, "original_not_found"
    if not credit.was_paid_by(leg.counterparty):
        return codes.UNKNOWN_CREDITOR, "the original was paid by another account"
    if leg.amount.minor > credit.left:
        return codes.AMOUNT_NOT_ALLOWED, "more than is left to reverse"
    return None, None


def _contra(what: str, currency: str, context: Context) -> str:
    """Name of the account on the other side of a pair: `transit` between shards, or the world `outside`."""
    return f"~{what}/{context.partition}/{currency}"


def _is_full(contra: str, minor: int, context: Context) -> bool:
    """A posting may not move a contra account out of its counter either."""
    ledger: Ledger = context.shared
    return abs(ledger.contra.get(contra, 0) + minor) > MAX_COUNTER
