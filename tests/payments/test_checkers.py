"""Every checker is quiet on a sound run and fires on a planted bug: a processor that does wrong, or a log that was tampered with."""

from typing import Any

import pytest

from payments import checkers, topics
from payments.account import Account
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.checkers import check_all
from payments.logs import events
from payments.watchdog import Watchdog
from schemas.payments import LedgerEntry, LedgerLeg, Leg, Money, PaymentConfirmed, PaymentStatus
from schemas.rails import DeadLetter, Position, Record, Tick
from tests.payments.tampering import CASES, change_entry, tampered
from tests.payments.world import REGISTRY, START, World, entry, limited, of, opened, payment
from transforms.fold import DEAD_LETTERS, Context, fold
from transforms.topic_settings import DAY_MS


@pytest.fixture(scope="module")
def sound() -> World:
    return World(CASES)


def run(accounts: type[AccountProcessor] = AccountProcessor, admission: type[Admission] = Admission) -> World:
    return World(CASES, lambda: (admission(), accounts(), Watchdog()))


def test_a_sound_run_has_no_violation(sound):
    assert check_all(sound.logs, sound.shards) == []


def test_the_run_has_everything_in_it(sound):
    said = sound.events(topics.STATUS, PaymentStatus)
    assert {s.status for s in said} == {"ACTC", "ACSP", "ACCC", "PDNG", "CANC", "RJCT", "DUPL"}
    assert {s.kind for s in said} == {"DEPOSIT", "WITHDRAWAL", "TRANSFER", "HOLD", "CAPTURE", "VOID", "REVERSAL"}
    assert {e.leg for e in sound.events(topics.JOURNAL)} == {"DEBIT", "CREDIT", "HOLD", "CAPTURE", "RELEASE", "UNWIND"}
    assert len(sound.events(topics.CONFIRMED, PaymentConfirmed)) > 5


@pytest.mark.parametrize(
    ("payment_id", "end"),
    [
        ("d1", ("ACCC", None)),
        ("d4", ("RJCT", "AC04")),
        ("t1", ("ACCC", None)),
        ("t2", ("RJCT", "AM04")),
        ("t3", ("RJCT", "AC03")),
        ("t4", ("RJCT", "AM04")),
        ("t5", ("RJCT", "AM03")),
        ("t6", ("RJCT", "AM01")),
        ("t7", ("RJCT", "TM01")),
        *[(f"g{n}", ("ACCC", None) if n % 2 else ("RJCT", "AC03")) for n in range(5)],
        ("h", ("ACCC", None)),
        ("h2", ("CANC", "DS24")),
        ("h3", ("CANC", None)),
        ("h4", ("PDNG", None)),
        ("h5", ("ACCC", None)),
        ("c1", ("ACCC", None)),
        ("c2", ("RJCT", "NARR")),
        ("c3", ("RJCT", "AC04")),
        ("v1", ("ACCC", None)),
        ("r1", ("ACCC", None)),
        ("w1", ("ACCC", None)),
        ("h6", ("PDNG", None)),
        ("w2", ("ACCC", None)),
        ("w3", ("RJCT", "AM04")),
    ],
)
def test_how_each_payment_ends(sound, payment_id, end):
    assert sound.final(payment_id) == end


def test_balances_after_all(sound):
    assert {name: sound.balance(name) for name in "abcegux"} == {
        "a": 1000 - 900 - 100 + 100,
        "b": 900 + 200 + 100 - 100 - 100 + 2,
        "c": 0,
        "e": -140,
        "g": 800,
        "u": 1000,
        "x": 0,
    }


# --- reading ---


def status_partition(world: World) -> tuple[int, list[Any]]:
    """A partition of payments.status with more than three statuses, and these."""
    for partition, items in world.logs[topics.STATUS.name].items():
        kept = [item for item in items if item[0].origin is not None]
        if len(kept) > 3:
            return partition, kept
    raise AssertionError


def test_repeats_are_dropped_but_not_on_client_topics(sound):
    partition, items = status_partition(sound)
    records = [record for record, _ in items]
    repeated = [*records, records[1], records[-1]]
    logs = checkers.read_logs([(topics.STATUS.name, partition, repeated)], REGISTRY.decode)
    assert logs[topics.STATUS.name][partition] == items
    logs = checkers.read_logs([(topics.INCOMING.name, 0, repeated)], REGISTRY.decode)
    assert len(logs[topics.INCOMING.name][0]) == len(records) + 2
    logs = checkers.read_logs([("t", 0, repeated)], REGISTRY.decode, ["t"])
    assert len(logs["t"][0]) == len(records) + 2


def test_a_partition_may_come_in_pieces(sound):
    partition, items = status_partition(sound)
    records = [record for record, _ in items]
    pieces = [(topics.STATUS.name, partition, records[:2]), (topics.STATUS.name, partition, records[1:])]
    assert checkers.read_logs(pieces, REGISTRY.decode)[topics.STATUS.name][partition] == items


def test_what_cannot_be_decoded_has_no_event():
    records = [Record(0, START, b"k", value, None, ()) for value in (None, b"", b"junk")]
    logs = checkers.read_logs([("t", 0, records)], REGISTRY.decode)
    assert logs["t"][0] == [(record, None) for record in records]


def test_empty_logs_hold_every_invariant():
    assert check_all({}) == []


# --- 1: postings ---


class CreditsTwice(AccountProcessor):
    """Money from nothing: the credit counts twice on the account."""

    def _credit(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        if account is not None and leg.kind == "TRANSFER":
            account.credits_posted += leg.amount.minor
        super()._credit(key, account, leg, context)


class ForgetsContra(AccountProcessor):
    """Posts one side only."""

    def _entry(self, *args: Any, **kwargs: Any) -> None:
        key, account, payment_id, what, amount, context, *rest = args
        super()._entry(key, account, payment_id, what, amount, context, *(rest[:1]), *((0,) if rest else ()))


def test_money_from_nothing_is_found():
    world = run(CreditsTwice)
    found = checkers.check_postings(world.logs)
    assert any("balance 1800, expected 900" in line for line in found)
    assert any("postings in EUR add up to 900" in line for line in found)
    assert check_all(world.logs, world.shards)


def test_a_one_sided_posting_is_found():
    world = run(ForgetsContra)
    assert any("~outside/" in line and "expected -1000" in line for line in checkers.check_postings(world.logs))
    assert any("in transit, but" in line for line in checkers.check_transit(world.logs)) is False
    # both in transit and in flight are zero at the end, so the transit balances alone would not show it


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"balance": 999.0}, "not an integer"),
        ({"amount": Money(1000.0, "EUR")}, "not an integer"),
        ({"available": True}, "not an integer"),
        ({"pending": None}, "not an integer"),
        ({"contra_balance": 1.5}, "not an integer"),
        ({"balance": 999}, "balance 999, expected 1000"),
        ({"contra_balance": -999}, "expected -1000"),
        ({"contra": None}, "None is no contra account of this partition and currency"),
        ({"contra": "~transit/99/EUR"}, "~transit/99/EUR is no contra account"),
        ({"leg": "COMPLETE"}, "a leg COMPLETE posts nothing"),
        ({"amount": Money(0, "EUR")}, "amount 0 is not positive"),
        ({"amount": Money(-1000, "EUR")}, "amount -1000 is not positive"),
    ],
)
def test_a_tampered_posting_is_found(sound, fields, message):
    logs = tampered(sound.logs, topics.JOURNAL, change_entry(lambda e: e.payment_id == "d1", **fields))
    assert any(message in line for line in checkers.check_postings(logs))


def test_what_is_no_entry_is_passed_by(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [(r._replace(origin=None), Tick(0)), (r, e)])
    assert check_all(logs) == []


def test_a_hold_has_no_contra_account(sound):
    logs = tampered(sound.logs, topics.JOURNAL, change_entry(lambda e: e.payment_id == "h", contra="~transit/0/EUR"))
    (line,) = checkers.check_postings(logs)
    assert "a HOLD moves no money, but has the contra account ~transit/0/EUR" in line


def test_a_violation_says_where(sound):
    logs = tampered(sound.logs, topics.JOURNAL, change_entry(lambda e: e.payment_id == "h", contra="~transit/0/EUR"))
    (line,) = checkers.check_postings(logs)
    (where,) = [
        f"payments.journal/{number}/{record.offset} a v{event.version}:"
        for number, items in sound.logs[topics.JOURNAL.name].items()
        for record, event in items
        if event.payment_id == "h"
    ]
    assert line.startswith(where)


def test_a_transit_balance_that_is_not_the_money_in_flight_is_found(sound):
    change = change_entry(lambda e: (e.payment_id, e.leg) == ("r1", "CREDIT"), contra_balance=105)
    (line,) = checkers.check_transit(tampered(sound.logs, topics.JOURNAL, change))
    assert line.startswith("EUR: ")
    assert line.endswith(" in transit, but 0 in flight")


def test_money_in_flight_at_a_cut_is_no_violation(sound):
    """Before the credit of the last transfer between the accounts is posted, in transit = in flight."""
    cut = START + 212
    logs = {t: {n: [i for i in items if i[0].at <= cut] for n, items in ps.items()} for t, ps in sound.logs.items()}
    assert checkers.check_transit(logs) == []
    entries = [e for _, _, e in events(logs, topics.JOURNAL.name, LedgerEntry)]
    assert [e.leg for e in entries if e.payment_id == "r1"] == ["DEBIT"]
    assert check_all(logs, drained=False) == []
    logs[topics.BALANCES.name] = {}  # they are written at the end
    assert check_all(logs) == ["payment r1: ends as ACSP"]


def test_more_arriving_than_departed_is_found(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [] if (e.payment_id, e.leg) == ("t1", "DEBIT") else None)
    assert "payment t1: 900 EUR more arrived than departed" in checkers.check_transit(logs)


# --- 2: once ---


class ForgetsIds(Admission):
    """Admits every attempt."""

    def on_event(self, key: str, entity: None, event: Any, context: Context) -> None:
        context.shared = self.new_shared()
        super().on_event(key, entity, event, context)


def test_a_payment_that_is_applied_twice_is_found():
    world = run(admission=ForgetsIds)
    found = checkers.check_once(world.logs)
    assert any("payment t1 was decided 21 ms before" in line for line in found)
    assert any("payment t1 was decided 1 ms before" in line for line in found)


@pytest.mark.parametrize(("ms", "found"), [(DAY_MS + 300_000, 1), (DAY_MS + 300_001, 0)])
def test_an_id_may_be_used_again_when_it_is_forgotten(ms, found):
    def status(at: int) -> tuple[Record, PaymentStatus]:
        said = PaymentStatus(
            "p", "HOLD", "ACTC", None, None, None, None, Money(1, "EUR"), "payments.admission", False, False, 0, at, 0
        )
        return Record(0, at, b"p", None, None, ()), said

    logs = {topics.STATUS.name: {0: [status(0), status(ms)]}}
    assert len(checkers.check_once(logs)) == found
    assert len(checkers.check_once(logs, memory_ms=ms)) == 1
    assert len(checkers.check_once(logs, memory_ms=ms - 1)) == 0


def test_a_second_effect_is_found(sound):
    logs = tampered(
        sound.logs,
        topics.JOURNAL,
        lambda r, e: [(r, e), (r._replace(origin=None), e)] if e.payment_id == "w1" else None,
    )
    (line,) = checkers.check_once(logs)
    assert "another DEBIT of payment w1 on b" in line


def test_an_origin_that_stands_twice_is_found(sound):
    """In two places: one of them was dropped by nobody."""
    logs = tampered(
        sound.logs,
        topics.CONFIRMED,
        lambda r, e: [(r, e), (r._replace(offset=99), e)] if e.payment_id == "w1" else None,
    )
    (line,) = checkers.check_once(logs)
    assert "the same origin as payments.confirmed/" in line


# --- 3: counts ---


def test_counts_that_do_not_add_up_are_found():
    world = run()
    shard = next(s for s in world.shards if s.source.stage == "payments.accounts" and s.counts.applied)
    shard.counts.applied += 1
    (line,) = checkers.check_counts(world.shards)
    assert line.startswith(f"payments.accounts/payments.inflight/{shard.source.partition}: ")
    assert f"do not add up to {shard.offset} records" in line


def test_a_lost_dead_letter_is_found(sound):
    logs = tampered(sound.logs, DEAD_LETTERS, lambda r, e: [] if e.stage == "payments.admission" else None)
    (line,) = checkers.check_counts(sound.shards, logs)
    assert line.endswith(": 1 dead-lettered, 0 dead letters")
    assert checkers.check_counts(sound.shards) == []


# --- 4: limits ---


class NoFundsCheck(AccountProcessor):
    """Lets an account fall below its limit."""

    def _debit(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        if account is not None and account.overdraft_limit == 0:
            account.overdraft_limit = 10**9
            super()._debit(key, account, leg, context)
            account.overdraft_limit = 0
        else:
            super()._debit(key, account, leg, context)


def test_an_account_below_its_limit_is_found():
    found = checkers.check_limits(run(NoFundsCheck).logs)
    assert any("c is 100 below its limit after a DEBIT" in line for line in found)
    assert any("c has 999999900 available, expected -100" in line for line in found)


def test_a_lowered_limit_is_no_violation_later(sound):
    assert [e.available for e in sound.events(topics.JOURNAL) if e.payment_id == "d7"] == [-140]
    assert checkers.check_limits(sound.logs) == []


def test_the_limit_in_force_is_the_one_before_the_record(sound):
    """Raised afterwards, or by a refused change, it does not count."""
    logs = tampered(sound.logs, topics.JOURNAL, change_entry(lambda e: e.payment_id == "h4", available=0, balance=-400))
    assert any("a is " in line and "below its limit after a HOLD" in line for line in checkers.check_limits(logs))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"available": 1}, "b has 1 available, expected"),
        ({"pending": 5}, "b has 5 pending, expected 1"),
        ({"account_id": "nobody"}, "an entry of nobody, which was not open"),
    ],
)
def test_a_tampered_state_is_found(sound, fields, message):
    logs = tampered(sound.logs, topics.JOURNAL, change_entry(lambda e: e.payment_id == "d6", **fields))
    assert any(message in line for line in checkers.check_limits(logs))


def test_negative_pending_is_found(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [] if e.leg == "HOLD" else None)
    assert any("pending, expected -" in line for line in checkers.check_limits(logs))


def test_an_entry_that_no_stage_wrote_is_found(sound):
    logs = tampered(
        sound.logs, topics.JOURNAL, lambda r, e: [(r._replace(origin=None), e)] if e.payment_id == "d6" else None
    )
    (line,) = checkers.check_limits(logs)
    assert line.endswith("an entry without origin")


def test_a_refused_change_of_a_limit_does_not_count():
    """Account a's overdraft of 10^6 was asked for with wrong settings."""
    world = World([*CASES, (30, limited("a", 10**6, expected=9))])
    assert check_all(world.logs, world.shards) == []
    logs = {**world.logs, DEAD_LETTERS.name: {}}
    assert any("available, expected" in line for line in checkers.check_limits(logs))


# --- holds ---


class CapturesTooMuch(AccountProcessor):
    def _capture(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        super()._capture(key, account, leg._replace(amount=leg.amount._replace(minor=1)), context)


class ResolvesTwice(AccountProcessor):
    def _end_hold(self, account: Account, hold_id: str, hold: Any, outcome: str, context: Context) -> None:
        context.clear_deadline(hold_id)


def test_more_captured_than_held_is_found(sound):
    logs = tampered(
        sound.logs,
        topics.JOURNAL,
        change_entry(lambda e: (e.payment_id, e.leg) == ("h", "HOLD"), amount=Money(149, "EUR")),
    )
    (line,) = checkers.check_holds(logs)
    assert "1 more captured and released than held by h" in line


def test_a_hold_that_ends_twice_is_found():
    world = run(ResolvesTwice)
    assert any("c2 ends the hold h, which c1 has ended" in line for line in checkers.check_holds(world.logs))


def test_a_hold_that_was_not_freed_whole_is_found(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [] if (e.payment_id, e.leg) == ("c1", "RELEASE") else None)
    assert checkers.check_holds(logs) == ["a: c1 ended the hold h, and left 50 of it held"]


def test_a_capture_without_a_hold_is_found(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [] if (e.payment_id, e.leg) == ("h", "HOLD") else None)
    found = checkers.check_holds(logs)
    assert any("a CAPTURE of the hold h, which is not there" in line for line in found)
    assert any("a RELEASE of the hold h, which is not there" in line for line in found)


# --- 5: order ---


@pytest.mark.parametrize(("version", "message"), [(7, "has v7 after v"), (0, "has v0 after v")])
def test_a_journal_out_of_order_is_found(sound, version, message):
    logs = tampered(sound.logs, topics.JOURNAL, change_entry(lambda e: e.payment_id == "c1", version=version))
    assert any(message in line for line in checkers.check_journal_order(logs))


def test_a_missing_journal_entry_is_found(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [] if e.payment_id == "d5" else None)
    assert len(checkers.check_journal_order(logs)) == 1


def test_a_missing_record_is_found_by_prev(sound):
    for topic in (topics.STATUS, topics.INFLIGHT, topics.JOURNAL):
        count = 0
        for items in sound.logs[topic.name].values():
            count = max(count, sum(record.origin is not None for record, _ in items))
        assert count > 2
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [] if e.payment_id == "d5" else None)
    (line,) = checkers.check_gapless(logs)
    origins = [r.origin for r, e in sound.logs[topics.JOURNAL.name][topics.JOURNAL.partition_of(b"b")]]
    lost = next(
        n
        for n, o in enumerate(origins)
        if o is not None and o.prev is not None and n > 1 and f"{o.prev[0]}.{o.prev[1]} of" in line
    )
    before = origins[lost - 2]
    assert before is not None
    assert f"but {before.offset}.{before.index} is before it" in line
    assert "payments.accounts/payments.inflight/" in line


def test_two_records_in_the_wrong_order_are_found(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: None)
    number, items = next((n, i) for n, i in logs[topics.JOURNAL.name].items() if len(i) > 2)
    items[0], items[1] = items[1], items[0]
    found = checkers.check_gapless(logs)
    assert found[0].startswith(f"payments.journal/{number}/1: follows ")
    assert found[0].endswith("but nothing is before it")
    assert "follows nothing of payments.accounts/" in found[1]


# --- 7: live = replay ---


def replay(
    world: World, processor: AccountProcessor | None = None
) -> tuple[dict[str, dict[int, list[Any]]], list[Any]]:
    """Folds the recorded payments.inflight again; gives what it regenerates as logs, and the shards."""
    from transforms.fold import Shard

    logs: dict[str, dict[int, list[Any]]] = {}
    shards = []
    for number in range(topics.INFLIGHT.partitions):
        shard = Shard(
            processor or AccountProcessor(), topics.INFLIGHT.name, number, topics.INFLIGHT.partitions, REGISTRY.decode
        )
        records = [record for record, _ in world.logs[topics.INFLIGHT.name].get(number, [])]
        for output in fold(shard, records):
            if output.origin is not None:
                record = Record(0, 0, output.key, REGISTRY.encode(output.event), output.origin, ())
                logs.setdefault(output.topic, {}).setdefault(output.partition, []).append((record, output.event))
        shards.append(shard)
    return logs, shards


def test_a_replay_is_the_same_byte_for_byte(sound):
    logs, shards = replay(sound)
    assert checkers.compare_logs(sound.logs, logs, "payments.accounts") == []
    live = [shard for shard in sound.shards if shard.source.stage == "payments.accounts"]
    assert [line for pair in zip(live, shards, strict=True) for line in checkers.compare_shards(*pair)] == []


class OtherRules(AccountProcessor):
    def _hold(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        super()._hold(key, account, leg._replace(reference="other"), context)


def test_a_replay_by_other_code_is_found(sound):
    logs, shards = replay(sound, OtherRules())
    found = checkers.compare_logs(sound.logs, logs, "payments.accounts")
    assert any(line.startswith("payments.status/") and line.endswith("differs") for line in found)
    live = [shard for shard in sound.shards if shard.source.stage == "payments.accounts"]
    found = [line for pair in zip(live, shards, strict=True) for line in checkers.compare_shards(*pair)]
    numbers = sorted(topics.INFLIGHT.partition_of(name) for name in (b"a", b"b"))
    assert found == [f"payments.accounts/payments.inflight/{number}: entities differs" for number in numbers]


@pytest.mark.parametrize("side", [0, 1])
def test_a_record_too_few_is_found(sound, side):
    logs, _ = replay(sound)
    shorter = tampered(logs, topics.CONFIRMED, lambda r, e: [] if e.payment_id == "d6" else None)
    pair = (sound.logs, shorter) if side else (shorter, sound.logs)
    (line,) = checkers.compare_logs(*pair, "payments.accounts")
    place = f"payments.confirmed/{topics.CONFIRMED.partition_of(b'd6')} from payments.accounts/payments.inflight/"
    assert line.startswith(place)
    assert "records live," in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: setattr(s, "clock", 1), "clock differs"),
        (lambda s: setattr(s, "offset", 1), "offset differs"),
        (lambda s: s.marks.clear(), "marks differs"),
        (lambda s: s.prevs.clear(), "prevs differs"),
        (lambda s: s.deadlines.clear(), "deadlines differs"),
        (lambda s: setattr(s, "version", 9), "version differs"),
        (lambda s: setattr(s.counts, "ticks", 99), "in the replay"),
        (lambda s: s.shared.contra.clear(), "the shared state differs"),
        (lambda s: setattr(s, "_last", s._last._replace(value=b"")), "the record before"),
        (
            lambda s: setattr(s, "entities", dict(reversed(list(s.entities.items())))),
            "the order of the entities differs",
        ),
    ],
)
def test_a_shard_that_differs_is_found(sound, change, message):
    records = [(record, event) for record, event in CASES]
    one, other = (World(records).shards for _ in range(2))
    place = next(
        n for n, s in enumerate(one) if s.source.stage == "payments.accounts" and len(s.entities) > 1 and s.deadlines
    )
    assert checkers.compare_shards(one[place], other[place]) == []
    change(other[place])
    assert any(message in line for line in checkers.compare_shards(one[place], other[place]))


# --- 10, effects and the books ---


class NeverCompletes(AccountProcessor):
    """Forgets to open the gate."""

    def _open_gate(self, key: str, account: Account, context: Context) -> None:
        pass


class SaysTwice(AccountProcessor):
    """Refuses a payment that it has confirmed."""

    def _confirm(self, leg: LedgerLeg, debtor: str | None, creditor: str | None, context: Context) -> None:
        super()._confirm(leg, debtor, creditor, context)
        if leg.payment_id == "t1":
            self._refuse(leg._replace(hop=9), context, "AM04")


def test_a_payment_without_an_end_is_found():
    world = run(NeverCompletes)
    assert "payment g2: ends as ACTC" in checkers.check_ends(world.logs)
    assert checkers.check_ends(world.logs, drained=False) == []


def test_a_payment_that_ends_twice_is_found():
    world = run(SaysTwice)
    assert checkers.check_ends(world.logs) == ["payment t1: ended 2 times: ['ACCC', 'RJCT']"]
    assert any(line.startswith("admitted ") for line in checkers.check_books(world.logs))
    assert any(
        "payment t1: TRANSFER is RJCT with the entries ['CREDIT', 'DEBIT']" in x
        for x in checkers.check_effects(world.logs)
    )


def test_a_status_after_the_end_is_found(sound):
    def change(record: Record, event: Any) -> Any:
        if getattr(event, "payment_id", None) == "w1" and event.status == "ACTC":
            return [(record, event._replace(hop=7))]
        return None

    assert "payment w1: ACTC after ACCC" in checkers.check_ends(tampered(sound.logs, topics.STATUS, change))


def test_a_payment_that_admission_does_not_know_is_found(sound):
    def change(record: Record, event: Any) -> Any:
        return [] if getattr(event, "payment_id", None) == "w1" and event.status == "ACTC" else None

    logs = tampered(sound.logs, topics.STATUS, change)
    assert checkers.check_ends(logs) == ["payment w1: ACCC of payments.accounts, but admission knows nothing of it"]
    assert len(checkers.check_books(logs)) == 2


def test_an_entry_without_a_payment_is_found(sound):
    logs = tampered(sound.logs, topics.STATUS, lambda r, e: [] if getattr(e, "payment_id", None) == "w1" else None)
    assert "payment w1: entries ['DEBIT'] without a status" in checkers.check_effects(logs)


def test_confirmed_money_that_was_not_posted_is_found(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [] if (e.payment_id, e.leg) == ("t1", "CREDIT") else None)
    assert checkers.check_effects(logs) == ["payment t1: TRANSFER is ACCC with the entries ['DEBIT']"]


def test_a_confirmation_that_is_missing_or_too_many_is_found(sound):
    lost = tampered(sound.logs, topics.CONFIRMED, lambda r, e: [] if e.payment_id == "t1" else None)
    assert checkers.check_effects(lost) == ["payment t1: TRANSFER is ACCC, confirmed 0 times"]
    twice = tampered(sound.logs, topics.CONFIRMED, lambda r, e: [(r, e), (r, e)] if e.payment_id == "t1" else None)
    assert checkers.check_effects(twice) == ["payment t1: TRANSFER is ACCC, confirmed 2 times"]


class CreditsInParallel(AccountProcessor):
    """What other demos do: the credit is sent whether the debit is possible or not."""

    def _debit(self, key: str, account: Account | None, leg: LedgerLeg, context: Context) -> None:
        before = context._index
        super()._debit(key, account, leg, context)
        if leg.kind == "TRANSFER" and context._index == before + 1:
            other = leg.counterparty or ""
            context.emit(topics.INFLIGHT, other, leg._replace(leg="CREDIT", account_id=other, counterparty=key, hop=2))


def test_a_credit_beside_a_refused_debit_is_found():
    world = run(CreditsInParallel)
    assert any("t4" in line and "more arrived than departed" in line for line in checkers.check_transit(world.logs))
    assert any("payment t4" in line for line in checkers.check_effects(world.logs))


def test_a_lost_record_of_incoming_is_found(sound):
    logs = tampered(sound.logs, topics.INCOMING, lambda r, e: [] if getattr(e, "payment_id", None) == "w1" else None)
    (line,) = checkers.check_books(logs)
    incoming = sum(map(len, logs[topics.INCOMING.name].values()))
    assert line == f"incoming {incoming} != admitted 31 + rejected at admission 2 + duplicates 2 + dead letters 1"


def test_a_hold_that_is_open_in_the_books_only_is_found(sound):
    logs = tampered(sound.logs, topics.JOURNAL, lambda r, e: [] if (e.payment_id, e.leg) == ("v1", "RELEASE") else None)
    (line,) = checkers.check_books(logs)
    assert line.startswith("admitted 31 != confirmed ")
    assert "open holds 3" in line


def test_check_all_tells_what_every_checker_tells():
    world = run(SaysTwice)
    shard = next(s for s in world.shards if s.counts.applied)
    shard.counts.late += 1
    logs = tampered(
        world.logs,
        topics.JOURNAL,
        lambda r, e: [] if e.payment_id == "d1" or (e.payment_id, e.leg) == ("c1", "RELEASE") else None,
    )
    logs = tampered(logs, topics.JOURNAL, lambda r, e: [] if (e.payment_id, e.leg) == ("t1", "DEBIT") else None)
    logs = tampered(
        logs, topics.CONFIRMED, lambda r, e: [(r, e), (r, e._replace(reference="x"))] if e.payment_id == "w1" else None
    )
    logs = tampered(logs, topics.JOURNAL, change_entry(lambda e: e.payment_id == "w1", at=START))
    logs[topics.OVERDUE.name] = {0: [(Record(0, START, b"p", b"", None, ()), None)]}
    parts = [
        checkers.check_decodable(logs),
        checkers.check_postings(logs),
        checkers.check_transit(logs),
        checkers.check_once(logs),
        checkers.check_counts(world.shards, logs),
        checkers.check_limits(logs),
        checkers.check_holds(logs),
        checkers.check_journal_order(logs),
        checkers.check_balances(logs),
        checkers.check_gapless(logs),
        checkers.check_ends(logs),
        checkers.check_effects(logs),
        checkers.check_books(logs),
        checkers.check_causes(logs),
        checkers.check_flows(logs),
    ]
    assert all(parts)
    assert check_all(logs, world.shards) == [line for part in parts for line in part]


def test_an_account_may_be_emptied_to_its_limit():
    cases = [opened("a", overdraft=5), payment("d", "DEPOSIT", 10, creditor_account="a"), payment("h", "HOLD", 5)]
    world = World([(n * 50, event) for n, event in enumerate([*cases, payment("w", "WITHDRAWAL", 10)])])
    assert world.events(topics.JOURNAL)[-1].available == 0
    assert check_all(world.logs, world.shards) == []


def test_what_waits_behind_the_gate_is_in_flight_in_the_books():
    assert checkers.check_books(run(NeverCompletes).logs) == []


def test_check_all_passes_on_what_it_is_given(sound):
    assert check_all(sound.logs, memory_ms=0) == []
    twice = run(admission=ForgetsIds).logs
    assert any("was decided" in line for line in check_all(twice, memory_ms=30))
    assert not any("was decided" in line for line in check_all(twice, memory_ms=0))
    lost = tampered(sound.logs, DEAD_LETTERS, lambda r, e: [] if e.stage == "payments.admission" else None)
    assert any(line.endswith(": 1 dead-lettered, 0 dead letters") for line in check_all(lost, sound.shards))


def test_the_world_writes_what_a_client_would():
    record = entry(5, payment("p"))
    assert (record.at, record.key) == (START + 5, b"p")
    assert of(DeadLetter, [REGISTRY.decode(record.value or b"")]) == []
    assert Position(1, 2) == (1, 2)
    _: Leg = "DEBIT"
