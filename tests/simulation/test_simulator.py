"""The simulator itself: what it promises, and that it sees one planted bug of every kind of fault that it makes.

The system is two toy stages in a loop: `ping` reads what clients send and sends it on, `pong` adds up, refuses what it does not like, has
deadlines, and sends some of it back. What a bug does to real money is in test_payments.py.
"""

import re
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import pytest

from schemas.rails import Record
from transforms.errors import BadRecord
from transforms.event_types import EventTypes, codec_of
from transforms.fold import Context, Output, Processor, Shard, Topic
from transforms.loop import Stage
from transforms.simulator import NO_FAULTS, Faults, Outcome, Sent, Simulation, SimulationFailed, System, Worker
from transforms.snapshots import TornSnapshot, restore_shard


class Order(NamedTuple):
    id: str
    amount: int


class Move(NamedTuple):
    account: str
    amount: int
    hops: int


class Total(NamedTuple):
    account: str
    sum: int
    moves: int


EVENTS = EventTypes({100: Order, 101: Move, 102: Total})
ORDERS, MOVES, TOTALS, LATEST = (Topic(f"sim.{name}", 2) for name in ("orders", "moves", "totals", "latest"))


class Ping(Processor):
    stage, reads, from_clients = "ping", (Order,), True

    def key(self, event: Order) -> str:
        return event.id

    def on_event(self, key: str, entity: None, event: Order, context: Context) -> None:
        account = f"a{len(key) % 3}{event.amount % 4}"
        context.emit(MOVES, account, Move(account, event.amount, 2))


class Pong(Processor):
    stage, reads, entity_codec = "pong", (Move,), codec_of(Total)

    def key(self, event: Move) -> str:
        return event.account

    def on_event(self, key: str, entity: Total | None, event: Move, context: Context) -> Total:
        if event.amount % 7 == 0:
            raise BadRecord("UNLUCKY")
        held = entity or Total(key, 0, 0)
        after = Total(key, held.sum + event.amount, held.moves + 1)
        context.emit(TOTALS, key, after)
        context.upsert(LATEST, key, after, after.moves)
        if event.hops:
            other = f"b{event.amount % 5}"
            context.emit(MOVES, other, Move(other, event.amount, event.hops - 1))
        context.set_deadline("pause", context.clock + 1500)
        return after

    def on_deadline(self, key: str, entity: Total, deadline: str, context: Context) -> Total:
        context.emit(TOTALS, key, entity._replace(moves=-1))
        return entity


def orders(rng: Random, start: int) -> list[Sent]:
    sent = []
    for i in range(25):
        raw = f"order-{i * rng.randrange(1, 1000)}".encode()
        value = EVENTS.encode(Order(raw.decode(), rng.randrange(1, 100)))
        sent.append(Sent(ORDERS.name, ORDERS.partition_of(raw), raw, value))
    return sent


def system(ping: type[Ping] = Ping, pong: type[Pong] = Pong, **named: Any) -> System:
    stages = [Stage(ping(), ORDERS), Stage(pong(), MOVES)]
    return System(stages, EVENTS, orders, ticked=[MOVES], **{"drain_ms": 4000, **named})


HARD = Faults(crash=0.05, zombie=0.03, sleep=0.02, torn=0.03, old_claim=0.03, resend=0.1)


def test_faults_change_nothing() -> None:
    for seed in range(60):
        Simulation(system(), seed, HARD).run()


def test_without_faults_nothing_is_repeated() -> None:
    outcome = Simulation(system(), 1, NO_FAULTS).run()
    assert outcome.logs == outcome.effective
    assert {shard.source.stage for shard in outcome.shards} == {"ping", "pong"}
    assert sum(len(events) for events in outcome.events(ORDERS.name).values()) == 25
    assert all(isinstance(event, Order) for records in outcome.events(ORDERS.name).values() for _, event in records)


def test_the_faults_happen() -> None:
    outcomes = [Simulation(system(), seed, HARD).run() for seed in range(5)]
    on_wire = sum(len(log) for outcome in outcomes for log in outcome.logs.values())
    effective = sum(len(log) for outcome in outcomes for log in outcome.effective.values())
    assert on_wire > effective * 1.3
    clocks = [[record.at for record in log] for outcome in outcomes for log in outcome.logs.values()]
    assert any(times != sorted(times) for times in clocks)


def test_a_value_that_cannot_be_decoded_is_none() -> None:
    outcome = Outcome({}, {("t", 0): [Record(0, 1, None, b"junk", None, ())]}, {}, [], EVENTS.decode)
    assert [event for _, event in outcome.events("t")[0]] == [None]


def test_a_checker_is_heard_and_the_seed_is_named() -> None:
    with pytest.raises(SimulationFailed, match=r"^seed 17: my own complaint$"):
        Simulation(system(checkers=[lambda outcome: ["my own complaint"]]), 17).run()


# --- planted bugs ---


def sees(what: str, system: System, worker: type[Worker] = Worker, shard: type[Shard] = Shard, seeds: int = 60) -> None:
    for seed in range(seeds):
        try:
            Simulation(system, seed, HARD, worker, shard).run()
        except SimulationFailed as failure:
            assert re.search(what, str(failure)), failure
            return
    pytest.fail(f"{seeds} seeds did not see it")


class NoFilter(Shard):
    """A repeat is applied again."""

    def _is_repeat(self, origin: Any) -> bool:
        return False


class MarkAfterDecode(Shard):
    """A record that cannot be used leaves no mark, so its repeat becomes another dead letter."""

    def step(self, record: Record, event: Any = None) -> list[Output]:
        marks, dead = dict(self.marks), self.counts.dead_lettered
        outputs = super().step(record, event)
        if self.counts.dead_lettered > dead:
            self.marks = marks
        return outputs


class ClockOfFreshRecordsOnly(Shard):
    """Repeats do not move the clock."""

    def step(self, record: Record, event: Any = None) -> list[Output]:
        origin = record.origin
        if origin is None or origin[1:3] > self.marks.get(origin.source, (-1, -1)):
            return super().step(record, event)
        outputs = super().step(record._replace(at=self.clock), event)
        self._last = record
        return outputs


class ForgetsAtRestore(Worker):
    """Something is not in the snapshot; here the last outputs (`prev`)."""

    what = "prevs"

    def restore(self) -> None:
        for _, data in sorted(self.place.snapshots.items(), reverse=True):
            try:
                restore_shard(self.shard, data)
            except TornSnapshot:
                continue
            getattr(self.shard, self.what).clear()
            break
        while self.shard.offset < self.place.claims[-1]:
            self.shard.step(self.log[self.shard.offset])


class ForgetsMarks(ForgetsAtRestore):
    what = "marks"


class ForgetsDeadlines(ForgetsAtRestore):
    what = "deadlines"


class SnapshotBeforeFlush(Worker):
    """The snapshot stands before its outputs: a crash in between loses them."""

    def work(self) -> Iterator[None]:
        self.restore()
        yield
        while True:
            outputs = self.fold()
            self.snapshot()
            yield
            yield from self.write(outputs)
            self.claim()
            yield
            while self.shard.offset == len(self.log):
                self.at_rest = True
                yield
            self.at_rest = False


class LosesAnOutput(Worker):
    """No acknowledgement, and no second try."""

    def write(self, outputs: Any) -> Iterator[None]:
        lost = self.simulation.rng.random() < 0.05
        yield from super().write(outputs[1:] if lost else outputs)


class TrustsClaims(Worker):
    """Begins where the runner says, with the state of the snapshot."""

    def restore(self) -> None:
        super().restore()
        if self.place.claims[-1] > self.shard.offset or self.simulation.rng.random() < 0.5:
            self.shard.offset = self.place.claims[-1]


class WritesByChunk(Worker):
    """What a worker takes at once decides what it writes: of several totals in a chunk only the last."""

    def fold(self) -> list[Output]:
        outputs = super().fold()
        return outputs[-1:] if len(outputs) == 3 else outputs


class Dice(Pong):
    """Decides by something that is not in the log."""

    dice = Random(1)

    def on_event(self, key: str, entity: Total | None, event: Move, context: Context) -> Total:
        if self.dice.random() < 0.1:
            event = event._replace(amount=1)
        return super().on_event(key, entity, event, context)


class Hasty(Pong):
    """Changes shared state before it refuses."""

    shared_codec = codec_of(dict[str, int])

    def new_shared(self) -> dict[str, int]:
        return {}

    def on_event(self, key: str, entity: Total | None, event: Move, context: Context) -> Total:
        context.shared["seen"] = context.shared.get("seen", 0) + 1
        return super().on_event(key, entity, event, context)


class WrongVersions(Pong):
    """Two values of one version."""

    def on_event(self, key: str, entity: Total | None, event: Move, context: Context) -> Total:
        after = super().on_event(key, entity, event, context)
        context.upsert(LATEST, key, after._replace(sum=-1), after.moves)
        return after


class Endless(Pong):
    """Answers itself for ever."""

    def on_event(self, key: str, entity: Total | None, event: Move, context: Context) -> Total:
        return super().on_event(key, entity, event._replace(hops=1, amount=1), context)


@pytest.mark.parametrize("shard", [NoFilter, MarkAfterDecode, ClockOfFreshRecordsOnly])
def test_sees_wrong_engines(shard: type[Shard]) -> None:
    sees("differ|ForkedWriter|MissingRecord|snapshots at the same offset", system(), shard=shard)


@pytest.mark.parametrize(
    ("worker", "what"),
    [
        (ForgetsAtRestore, "differ|ForkedWriter"),
        (ForgetsMarks, "differ|MissingRecord"),
        (ForgetsDeadlines, "differ|MissingRecord|ForkedWriter"),
        (SnapshotBeforeFlush, "MissingRecord|the log differs"),
        (LosesAnOutput, "MissingRecord|the log differs"),
        (TrustsClaims, "Gap|differ"),
        (WritesByChunk, "MissingRecord|the log differs|upserts differ"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_sees_wrong_drivers(worker: type[Worker], what: str) -> None:
    sees(what, system(), worker=worker)


@pytest.mark.parametrize(
    ("pong", "what"),
    [
        (Dice, "differ|two values|two workers"),
        (Hasty, "refused after it had changed something"),
        (WrongVersions, "two values of version"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_sees_wrong_processors(pong: type[Pong], what: str) -> None:
    sees(what, system(pong=pong))


def test_sees_a_system_that_does_not_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.simulator.MAX_STEPS", 5_000)
    sees("does not come to rest", system(pong=Endless))


def test_sees_counts_that_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.fold.Context.count_as_late", lambda self: None)
    whole = Shard._bury
    monkeypatch.setattr(Shard, "_bury", lambda self, *args: (setattr(self.counts, "late", 5), whole(self, *args))[1])
    sees("do not add up", system())
