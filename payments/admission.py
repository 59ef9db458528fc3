"""Admission: every payment enters here (P1, P5). Keyed by payment_id, so it sees all attempts at one id.

Flow: payments.incoming → admission → the first leg on payments.inflight and a status on payments.status.
"""

from payments import codes, topics
from payments.currencies import EXPONENTS
from payments.memory import Memory, MemoryCodec
from schemas.payments import LedgerLeg, Leg, PaymentInitiated, PaymentStatus, Status
from transforms.errors import BadRecord
from transforms.fold import Context, Processor
from transforms.topic_settings import DAY_MS

CLOCK_TOLERANCE_MS = 300_000  # how far a client's clock may run ahead of the log's
MAX_MINOR = (
    10**15
)  # most that one payment may move; leaves the counters of an account room for thousands of such payments
MAX_HOLD_MS = 3_660 * DAY_MS  # longest timeout of a hold, about ten years
MAX_ID_CHARS = 128  # of ids and references

FIRST_LEG: dict[str, Leg] = {
    "DEPOSIT": "CREDIT",
    "WITHDRAWAL": "DEBIT",
    "TRANSFER": "DEBIT",
    "HOLD": "HOLD",
    "CAPTURE": "CAPTURE",
    "VOID": "RELEASE",
    "REVERSAL": "DEBIT",
}

_FIELDS = {  # which of debtor, creditor, pending_id and original_payment_id a kind has; all others must be missing
    "DEPOSIT": (False, True, False, False),
    "WITHDRAWAL": (True, False, False, False),
    "TRANSFER": (True, True, False, False),
    "HOLD": (True, False, False, False),
    "CAPTURE": (True, True, True, False),
    "VOID": (True, False, True, False),
    "REVERSAL": (True, True, False, True),
}


def is_account_id(account: str | None) -> bool:
    """Ids that begin with ~ are the ledger's own contra accounts."""
    return account is not None and 0 < len(account) <= MAX_ID_CHARS and account[0] != "~"


def refusal(payment: PaymentInitiated, clock: int, ttl_ms: int) -> tuple[str, str | None] | None:
    """Why the payment cannot be admitted, as (reason code, detail), or None. Looks at the payment alone."""
    kind, amount, debtor, creditor = payment.kind, payment.amount, payment.debtor_account, payment.creditor_account
    if payment.requested_at < clock - ttl_ms:
        return codes.TOO_OLD, None
    if payment.requested_at > clock + CLOCK_TOLERANCE_MS:
        return codes.FUTURE_DATE, "requested_at"
    has_debtor, has_creditor, has_pending, has_original = _FIELDS[kind]
    # A field too many may mean another kind than was said: a DEPOSIT with a debtor would make money out of a transfer.
    if has_debtor:
        if not is_account_id(debtor):
            return codes.UNKNOWN_DEBTOR, None
    elif debtor is not None:
        return codes.FIELD_NOT_ALLOWED, "debtor_account"
    if has_creditor:
        if not is_account_id(creditor):
            return codes.UNKNOWN_CREDITOR, None
        if debtor == creditor:
            return codes.FORBIDDEN, "debtor and creditor are the same account"
    elif creditor is not None:
        return codes.FIELD_NOT_ALLOWED, "creditor_account"
    if amount.currency not in EXPONENTS:
        return codes.CURRENCY_NOT_ALLOWED, None
    if amount.minor == 0 and kind != "VOID":
        return codes.ZERO_AMOUNT, None
    if not 0 <= amount.minor <= MAX_MINOR:
        return codes.AMOUNT_NOT_ALLOWED, None
    if (not payment.pending_id) is has_pending:
        return codes.FIELD_MISSING if has_pending else codes.FIELD_NOT_ALLOWED, "pending_id"
    if (not payment.original_payment_id) is has_original:
        return codes.FIELD_MISSING if has_original else codes.FIELD_NOT_ALLOWED, "original_payment_id"
    timeout = payment.hold_timeout_ms
    if timeout is not None:
        if kind != "HOLD":
            return codes.FIELD_NOT_ALLOWED, "hold_timeout_ms"
        if not 0 < timeout <= MAX_HOLD_MS:
            return codes.INCORRECT_FIELD, "hold_timeout_ms"
    return None


def _too_long(text: str | None) -> bool:
    return text is not None and len(text) > MAX_ID_CHARS


class Admission(Processor):
    """Validates, recognises duplicates, and sends the first leg on its way."""

    stage = "payments.admission"
    reads = (PaymentInitiated,)
    from_clients = True

    def __init__(self, ttl_ms: int = DAY_MS) -> None:
        """`ttl_ms`: how old a claimed time may be. Ids are remembered that long and the clock tolerance more."""
        if ttl_ms < 1:
            raise ValueError(f"ttl_ms must be positive, got {ttl_ms}")
        self.ttl_ms = ttl_ms
        self._keep_ms = ttl_ms + CLOCK_TOLERANCE_MS
        self.shared_codec = MemoryCodec(self._keep_ms)

    def new_shared(self) -> Memory:
        return Memory(self._keep_ms)

    def key(self, event: PaymentInitiated) -> str:
        if not 0 < len(event.payment_id) <= MAX_ID_CHARS:
            raise BadRecord("BAD_ID", "payment_id is empty or too long")
        return event.payment_id

    def on_event(self, key: str, entity: None, event: PaymentInitiated, context: Context) -> None:
        """Texts that statuses and legs repeat are bounded, or one record could make others that are too large for a topic."""
        if len(event.amount.currency) != 3:
            raise BadRecord("BAD_CURRENCY", "amount.currency is not three letters")
        if _too_long(event.reference) or _too_long(event.pending_id) or _too_long(event.original_payment_id):
            raise BadRecord("TOO_LONG", "reference, pending_id or original_payment_id")
        assert context.value is not None  # a record without value is a dead letter before it comes here
        seen = context.shared.recall(key, context.value, context.offset, context.clock)
        if seen is not None:
            self._repeat(event, seen, context)
            return
        refused = refusal(event, context.clock, self.ttl_ms)
        if refused is not None:
            reason, detail = refused
            if reason == codes.TOO_OLD:
                context.count_as_late()
            self._status(event, "RJCT", context, reason, detail)
            return
        at = context.at
        if event.kind == "DEPOSIT":
            account, counterparty = event.creditor_account, None
        else:
            account, counterparty = event.debtor_account, event.creditor_account
        assert account is not None
        leg = LedgerLeg(
            key,
            event.kind,
            FIRST_LEG[event.kind],
            account,
            counterparty,
            event.amount,
            event.pending_id,
            event.hold_timeout_ms,
            event.original_payment_id,
            event.reference,
            None,
            False,
            event.requested_at,
            at,
            (),
            1,
        )
        context.emit(topics.INFLIGHT, account, leg)
        self._status(event, "ACTC", context)

    def _repeat(self, event: PaymentInitiated, seen: tuple[int, bool], context: Context) -> None:
        """A second attempt at an id: a status of the attempt, never of the payment."""
        offset, same = seen
        context.count_as_duplicate()
        original = f"{context.place.rsplit('/', 1)[0]}/{offset}"
        if same:
            self._status(event, "DUPL", context, attempt=True, original=original)
        else:
            self._status(event, "RJCT", context, codes.DUPLICATE, attempt=True, original=original)

    def _status(
        self,
        event: PaymentInitiated,
        status: Status,
        context: Context,
        reason: str | None = None,
        detail: str | None = None,
        attempt: bool = False,
        original: str | None = None,
    ) -> None:
        context.emit(
            topics.STATUS,
            event.payment_id,
            PaymentStatus(
                event.payment_id,
                event.kind,
                status,
                reason,
                detail,
                event.reference,
                original,
                event.amount,
                self.stage,
                attempt,
                status == "RJCT" and not attempt,
                0,
                context.at,
                0,
            ),
        )
