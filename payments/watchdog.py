"""The watchdog (P9): a payment that has not come to an end within its SLA raises an event. Keyed by payment_id, over payments.status.

An open hold (PDNG) waits for its capture and is not overdue.
"""

from payments import topics
from schemas import load_schema
from schemas.payments import RECORDS, PaymentOverdue, PaymentStatus, Watched
from transforms.avro import compile_codec
from transforms.fold import Context, Processor

_DUE = "due"  # the SLA of a payment; once it has ended, when it is forgotten


class Watchdog(Processor):
    """Keeps the latest status of each payment until it has ended and its SLA has passed.

    Admission and the account processor write statuses independently, so a payment's first status may arrive after its last; what has
    ended is therefore remembered for one SLA longer.
    """

    stage = "payments.watchdog"
    reads = (PaymentStatus,)
    entity_codec = compile_codec(load_schema("payments.Watched"), RECORDS)

    def __init__(self, sla_ms: int = 10_000) -> None:
        if sla_ms < 1:
            raise ValueError(f"sla_ms must be positive, got {sla_ms}")
        self.sla_ms = sla_ms

    def key(self, event: PaymentStatus) -> str:
        return event.payment_id

    def on_event(self, key: str, entity: Watched | None, event: PaymentStatus, context: Context) -> Watched | None:
        if event.attempt:
            return entity
        if entity is not None and (entity.terminal or event.hop <= entity.hop):
            return entity
        since = context.at if entity is None else entity.since
        if event.terminal:
            context.set_deadline(_DUE, context.clock + self.sla_ms)
        elif event.status == "PDNG":
            context.clear_deadline(_DUE)
        elif entity is None:
            context.set_deadline(_DUE, since + self.sla_ms)
        return Watched(event.status, event.hop, since, event.terminal)

    def on_deadline(self, key: str, entity: Watched, deadline: str, context: Context) -> Watched | None:
        if entity.terminal:
            return None
        context.emit(topics.OVERDUE, key, PaymentOverdue(key, entity.status, entity.since, self.sla_ms, context.clock))
        return entity
