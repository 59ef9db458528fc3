"""The payment system under the simulator's faults: SEEDS seeds, in blocks that pytest-xdist can spread.

A failure names its seed and the command that shows it again, and only it:
`BEAM_ON_RAILS_SEED=<seed> ./run_local.sh test tests/simulation/test_payments.py -k faults`.
"""

from collections import Counter
from typing import Any

import pytest

from payments import topics
from payments.accounts import AccountProcessor
from schemas.payments import LedgerEntry, LedgerLeg, Money, PaymentStatus
from tests.simulation.payments_system import PARTITIONS, few_partitions, payment_system, run_seed
from tests.simulation.seeds import blocks, check_seeds, check_seen, show
from transforms.fold import Output, Shard
from transforms.simulator import Outcome, System, Worker

SEEDS = 2_000

pytestmark = pytest.mark.usefixtures("untraced")


@pytest.mark.parametrize("seeds", blocks(SEEDS), ids=show)
def test_faults_change_nothing(seeds: range) -> None:
    check_seeds(run_seed, seeds, "test_payments")


def test_a_seed_is_one_run() -> None:
    runs = [run_seed(7), run_seed(7), run_seed(8)]
    assert runs[0].logs == runs[1].logs
    assert runs[0].logs != runs[2].logs


def test_the_seeds_reach_every_kind_of_outcome() -> None:
    """Otherwise the simulator would prove little."""
    said: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    repeats = legs = 0
    for seed in range(60):
        outcome = run_seed(seed)
        repeats += sum(map(len, outcome.logs.values())) - sum(map(len, outcome.effective.values()))
        legs += sum(map(len, outcome.effective.values()))
        for shard in outcome.shards:
            counts.update(shard.counts.as_dict())
        for topic in (topics.STATUS, topics.JOURNAL, topics.INFLIGHT, topics.OVERDUE):
            said.update(_names(outcome, topic.name))
    wanted = [
        *("AC01", "AC03", "AC04", "AC06", "AM01", "AM03", "AM04", "AM05", "AM14", "DS24", "FRAD", "TM01"),
        *("ACTC", "ACSP", "ACCC", "PDNG", "CANC", "RJCT", "DUPL"),
        *("already_captured", "already_voided", "not_found", "original_not_found", "gated", "TRANSFER ACCC"),
        *("CAPTURE ACCC", "VOID ACCC", "REVERSAL ACCC", "HOLD CANC", "HOLD ACCC", "UNWIND", "COMPLETE"),
    ]
    assert [name for name in wanted if not said[name]] == []
    assert all(counts.values()), counts
    assert repeats > legs / 4, "too few repeats on the wire"


def _names(outcome: Outcome, topic: str) -> list[str]:
    names: list[str] = []
    for records in outcome.events(topic).values():
        for _, event in records:
            if isinstance(event, PaymentStatus):
                names += [event.status, event.reason or "", event.detail or "", f"{event.kind} {event.status}"]
            elif isinstance(event, LedgerEntry):
                names.append(event.leg)
            elif isinstance(event, LedgerLeg):
                names += [event.leg, "gated" if event.gated else ""]
    return names


# --- planted bugs of a payment system: money made or lost, which the simulator and the checkers must see ---


class _FilterOff(Shard):
    def _is_repeat(self, origin: object) -> bool:
        return False


class _ClaimsFirst(Worker):
    """Claims before the outputs are flushed: a crash in between loses them."""

    def work(self):  # type: ignore[no-untyped-def]
        self.restore()
        yield
        while True:
            outputs = self.fold()
            self.claim()
            yield
            yield from self.write(outputs)
            while self.shard.offset == len(self.log):
                self.at_rest = True
                yield
            self.at_rest = False


class _CreditsAtOnce(AccountProcessor):
    """Sends the credit beside the debit, not after it: money is made when the debit is refused."""

    def _refuse(self, leg, context, reason, detail=None):  # type: ignore[no-untyped-def]
        if leg.leg == "DEBIT" and leg.counterparty and leg.kind == "TRANSFER":
            onward = leg._replace(leg="CREDIT", account_id=leg.counterparty, counterparty=leg.account_id, hop=2)
            context.emit(topics.INFLIGHT, leg.counterparty, onward)
        super()._refuse(leg, context, reason, detail)


class _ForgetsTheContra(AccountProcessor):
    """Posts one side only."""

    def _entry(self, *args, **named):  # type: ignore[no-untyped-def]
        super()._entry(*(0 if value == 300 else value for value in args), **named)


class _LosesUnwinds(AccountProcessor):
    def _unwind(self, key, account, leg, context):  # type: ignore[no-untyped-def]
        self._refuse(leg, context, leg.reason)


class _CountsInTheProcess(AccountProcessor):
    """Keeps something outside the shard, so it is gone when another worker takes over."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def on_event(self, key, entity, event, context):  # type: ignore[no-untyped-def]
        self.seen += 1
        after = super().on_event(key, entity, event, context)
        if after is not None and self.seen % 20 == 0:
            after.last_payment_id = "twentieth"
        return after


def _seen(system: System, what: str, seeds: int = 40, **kinds: Any) -> None:
    check_seen(system, what, seeds, **kinds)


@pytest.fixture
def _few():
    with few_partitions():
        yield


@pytest.mark.usefixtures("_few")
def test_sees_doubles_without_the_filter() -> None:
    _seen(payment_system(), "differs from a plain fold", shard=_FilterOff)


@pytest.mark.usefixtures("_few")
def test_sees_outputs_lost_by_an_early_claim() -> None:
    _seen(payment_system(), "MissingRecord", worker=_ClaimsFirst)


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize(
    ("accounts", "what"),
    [
        (_CreditsAtOnce, "more arrived than departed"),
        (_ForgetsTheContra, "postings in EUR add up to"),
        (_LosesUnwinds, "too much: transit|in transit"),
        (_CountsInTheProcess, "differ"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_sees_wrong_processors(accounts: type[AccountProcessor], what: str) -> None:
    _seen(payment_system(accounts=accounts), what)


def test_the_topics_are_as_before() -> None:
    before = topics.INFLIGHT
    with few_partitions():
        assert topics.INFLIGHT.partitions == PARTITIONS
    assert topics.INFLIGHT is before
    assert Output("t", 0, b"", Money(1, "EUR"), None).version is None
