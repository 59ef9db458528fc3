"""Admission: every payment enters here (P1, P5). Keyed by payment_id, so it sees all attempts at one id.

Flow: payments.incoming → admission → the first leg on payments.inflight and a status on payments.status.
"""

from payments import codes, topics
from payments.currencies import EXPONENTS
from payments.memory import Memory, MemoryCodec
from schemas.payments import LedgerLeg, Leg, PaymentInitiated, PaymentStatus, Status
from transforms.errors import BadRecord
from transforms.fold import Context, Processor

DAY_MS = 86_400_000
CLOCK_TOLERANCE_MS = 300_000  # how far a client's clock may run ahead of the log's
MAX_MINOR = (
    10**15
)  # most that one payment may move; leaves the counters of an account room for thousands of such payments
MAX_ID_CHARS = 128

FIRST_LEG: dict[str, Leg] = {
    "DEPOSIT": "CREDIT",
    "WITHDRAWAL": "DEBIT",
    "TRANSFER": "DEBIT",
    "HOLD": "HOLD",
    "CAPTURE": "CAPTURE",
    "VOID": "RELEASE",
    "REVERSAL": "DEBIT",
}
_TWO_SIDED = frozenset({"TRANSFER", "CAPTURE", "REVERSAL"})


def is_account_id(account: str | None) -> bool:
    """Ids that begin with ~ are the ledger's own contra accounts."""
    return bool(account) and not account.startswith("~") and len(account) <= MAX_ID_CHARS  # type: ignore[union-attr]


def refusal(payment: PaymentInitiated, clock: int, ttl_ms: int) -> tuple[str, str | None] | None:
    """Why the payment cannot be admitted, as (reason code, detail), or None. Looks at the payment alone."""
    kind, amount = payment.kind, payment.amount
    if payment.requested_at < clock - ttl_ms:
        return codes.TOO_OLD, None
    if payment.requested_at > clock + CLOCK_TOLERANCE_MS:
        return codes.INVALID_DATE, "requested_at is ahead of the log"
    if kind != "DEPOSIT" and not is_account_id(payment.debtor_account):
        return codes.UNKNOWN_DEBTOR, None
    if (kind == "DEPOSIT" or kind in _TWO_SIDED) and not is_account_id(payment.creditor_account):
        return codes.UNKNOWN_CREDITOR, None
    if kind in _TWO_SIDED and payment.debtor_account == payment.creditor_account:
        return codes.FORBIDDEN, "debtor and creditor are the same account"
    if amount.currency not in EXPONENTS:
        return codes.CURRENCY_NOT_ALLOWED, None
    if kind != "VOID":
        if amount.minor == 0:
            return codes.ZERO_AMOUNT, None
        if not 0 < amount.minor <= MAX_MINOR:
            return codes.AMOUNT_NOT_ALLOWED, None
    if kind in ("CAPTURE", "VOID") and not payment.pending_id:
        return codes.NARRATIVE, "pending_id is missing"
    if kind == "REVERSAL" and not payment.original_payment_id:
        return codes.NARRATIVE, "original_payment_id is missing"
    if payment.hold_timeout_ms is not None and (kind != "HOLD" or payment.hold_timeout_ms < 1):
        return codes.NARRATIVE, "hold_timeout_ms is for holds and must be positive"
    return None


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
        self._memory = (ttl_ms + CLOCK_TOLERANCE_MS, max(1, ttl_ms // 24))
        self.shared_codec = MemoryCodec(*self._memory)

    def new_shared(self) -> Memory:
        return Memory(*self._memory)

    def key(self, event: PaymentInitiated) -> str:
        if not 0 < len(event.payment_id) <= MAX_ID_CHARS:
            raise BadRecord("BAD_ID", "payment_id is empty or too long")
        return event.payment_id

    def on_event(self, key: str, entity: None, event: PaymentInitiated, context: Context) -> None:
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
            if event.kind in ("WITHDRAWAL", "VOID"):
                counterparty = None
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
