"""The watchdog: a payment that is not at an end within its SLA raises one event."""

import pytest

from payments import topics
from payments.watchdog import Watchdog
from schemas.payments import Money, PaymentOverdue, PaymentStatus, Watched
from tests.payments.world import START, Bench


def status(what, hop, payment_id="p", attempt=False):
    terminal = what in ("ACCC", "CANC", "RJCT") and not attempt
    return PaymentStatus(
        payment_id, "TRANSFER", what, None, None, None, None, Money(1, "EUR"), "s", attempt, terminal, hop, 0, 0
    )


@pytest.fixture
def bench():
    return Bench(Watchdog(1000), topics.STATUS.name)


def overdue(what, at=1000, since=0):
    return PaymentOverdue("p", what, START + since, 1000, START + at)


def test_a_payment_that_stays_open_is_overdue_once(bench):
    bench.feed(status("ACTC", 0), 0)
    bench.feed(status("ACSP", 1), 10)
    assert bench.account("p") == Watched("ACSP", 1, START, False)
    assert bench.tick(999) == []
    assert bench.tick(1000) == [overdue("ACSP")]
    assert (bench.outputs[0].topic, bench.outputs[0].key) == ("payments.overdue", b"p")
    assert bench.tick(9999) == []
    assert bench.account("p").status == "ACSP"


def test_the_event_says_when_it_was_noticed(bench):
    bench.feed(status("ACTC", 0), 5)
    assert bench.tick(4321) == [overdue("ACTC", 4321, 5)]


def test_an_end_in_time_is_quiet_and_is_forgotten_an_sla_later(bench):
    bench.feed(status("ACTC", 0), 0)
    bench.feed(status("ACCC", 2), 999)
    assert bench.account("p") == Watched("ACCC", 2, START, True)
    assert bench.tick(1000) == []
    assert bench.tick(1998) == []
    assert "p" in bench.shard.entities
    assert bench.tick(1999) == []
    assert bench.shard.entities == {}
    assert bench.shard.deadlines == {}


def test_an_end_at_the_very_moment_is_too_late(bench):
    bench.feed(status("ACTC", 0), 0)
    assert bench.feed(status("ACCC", 2), 1000) == [overdue("ACTC")]
    bench.tick(2000)
    assert bench.shard.entities == {}


def test_an_open_hold_waits_for_its_capture_and_is_not_overdue(bench):
    bench.feed(status("ACTC", 0), 0)
    bench.feed(status("PDNG", 1), 5)
    assert bench.tick(50_000) == []
    assert bench.account("p") == Watched("PDNG", 1, START, False)
    bench.feed(status("CANC", 2), 60_000)
    bench.tick(61_000)
    assert bench.shard.entities == {}


def test_a_first_status_that_comes_after_the_last_changes_nothing(bench):
    """Admission and the account processor write to the topic independently."""
    bench.feed(status("ACCC", 1), 0)
    assert bench.feed(status("ACTC", 0), 5) == []
    assert bench.account("p") == Watched("ACCC", 1, START, True)
    assert bench.tick(999) == []
    assert bench.shard.entities
    bench.tick(1000)
    assert bench.shard.entities == {}


def test_a_lower_or_equal_hop_changes_nothing(bench):
    bench.feed(status("ACSP", 1), 0)
    bench.feed(status("ACTC", 0), 1)
    bench.feed(status("PDNG", 1), 2)
    assert bench.account("p").status == "ACSP"
    assert bench.tick(1000) == [overdue("ACSP")]


def test_a_hold_that_was_open_first_is_not_overdue_by_a_late_first_status(bench):
    bench.feed(status("PDNG", 1), 0)
    bench.feed(status("ACTC", 0), 1)
    assert bench.tick(5000) == []


@pytest.mark.parametrize("known", [False, True])
def test_attempts_are_not_the_payment(bench, known):
    if known:
        bench.feed(status("ACTC", 0), 0)
    bench.feed(status("RJCT", 0, attempt=True), 1)
    bench.feed(status("DUPL", 9, attempt=True), 1)
    assert bench.tick(1000) == ([overdue("ACTC")] if known else [])
    assert bool(bench.shard.entities) == known


def test_payments_are_watched_apart(bench):
    bench.feed(status("ACTC", 0), 0)
    bench.feed(status("ACTC", 0, "q"), 0)
    bench.feed(status("ACCC", 1, "q"), 1)
    assert bench.tick(1000) == [overdue("ACTC")]


def test_the_sla_is_configurable():
    assert Watchdog().sla_ms == 10_000
    assert Watchdog(1).sla_ms == 1
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"sla_ms must be positive, got {bad}"):
            Watchdog(bad)
    assert Watchdog.stage == "payments.watchdog"


def test_state_survives_its_codec(bench):
    bench.feed(status("ACTC", 0), 0)
    codec = bench.shard.processor.entity_codec
    assert codec.decode(codec.encode(bench.account("p"))) == bench.account("p")
