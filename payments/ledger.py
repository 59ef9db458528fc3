"""What a shard of the account processor holds besides its accounts."""

from dataclasses import dataclass, field

from payments.account import MEMORY_MS
from payments.credits import Credits
from schemas import load_schema
from schemas import payments as stored
from schemas.payments import VelocityRule
from transforms.avro import compile_codec

NO_BOUNDS = {"max_bytes": 1 << 31, "max_items": 1 << 31}
"""State is ours, so the bounds on hostile messages do not apply."""


@dataclass(slots=True)
class Ledger:
    """Balance of each contra account (in transit, outside), minor units; velocity rules by name; credits that may be reversed."""

    contra: dict[str, int] = field(default_factory=dict)
    rules: dict[str, VelocityRule] = field(default_factory=dict)
    credits: Credits = field(default_factory=Credits)


class LedgerCodec:
    """Writes the ledger into snapshots: payments.Ledger. `keep_ms`: how long its credits may be reversed."""

    _codec = compile_codec(load_schema("payments.Ledger"), stored.RECORDS, **NO_BOUNDS)

    def __init__(self, keep_ms: int = MEMORY_MS) -> None:
        self.keep_ms = keep_ms

    def encode(self, ledger: Ledger) -> bytes:
        return self._codec.encode(stored.Ledger(ledger.contra, ledger.rules, ledger.credits.encode()))

    def decode(self, data: bytes) -> Ledger:
        held: stored.Ledger = self._codec.decode(data)
        return Ledger(held.contra, held.rules, Credits(self.keep_ms).load(held.credits))
