"""Two stages in a row, for tests of the live driver: payer → payee over `hop.legs`; every record gives several outputs."""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

from schemas.rails import Record, Tick
from transforms.errors import BadRecord
from transforms.event_types import EventTypes, codec_of
from transforms.fold import Context, Output, Processor, Shard, Topic
from transforms.fold_bounded import Engine
from transforms.loop import Stage


class Pay(NamedTuple):
    id: str
    payer: str
    payee: str
    amount: int


class Leg(NamedTuple):
    id: str
    payee: str
    amount: int
    balance: int


class Paid(NamedTuple):
    id: str
    balance: int


EVENTS = EventTypes({110: Pay, 111: Leg, 112: Paid})
IN, LEGS, PAID, BALANCES = Topic("hop.in", 4), Topic("hop.legs", 4), Topic("hop.paid", 2), Topic("hop.balances", 2)
LETTERS = Topic("hop.letters", 2)
TOPICS = (IN, LEGS, PAID, BALANCES, LETTERS)


class Debit(Processor):
    stage, reads, entity_codec, from_clients = "debit", (Pay, Tick), codec_of(int), True

    def key(self, event: Pay | Tick) -> str | None:
        return event.payer if type(event) is Pay else None

    def on_broadcast(self, event: Tick, context: Context) -> None:
        context.count_as_late()

    def on_event(self, key: str, entity: int | None, event: Pay, context: Context) -> int:
        if event.amount <= 0:
            raise BadRecord("BAD_AMOUNT")
        balance = (entity or 0) - event.amount
        context.emit(LEGS, event.payee, Leg(event.id, event.payee, event.amount, balance))
        if event.amount % 3 == 0:
            context.emit(LEGS, event.payer, Leg(event.id, event.payer, 1, balance))
        context.upsert(BALANCES, key, Paid(key, balance), context.offset)
        context.set_deadline("quiet", context.clock + 3_600_000)
        return balance


class Credit(Processor):
    stage, reads, entity_codec = "credit", (Leg,), codec_of(int)

    def key(self, event: Leg) -> str:
        return event.payee

    def on_event(self, key: str, entity: int | None, event: Leg, context: Context) -> int:
        balance = (entity or 0) + event.amount
        context.emit(PAID, event.id, Paid(event.id, balance))
        return balance


DEBIT, CREDIT = Debit(), Credit()


def debit_engine() -> Engine:
    return Engine(Stage(DEBIT, IN, LETTERS), EVENTS)


def credit_engine() -> Engine:
    return Engine(Stage(CREDIT, LEGS, LETTERS), EVENTS)


def payments(count: int, seed: int = 1) -> list[tuple[int, bytes, bytes]]:
    """(partition of IN, key, value): some are refused, some cannot be decoded."""
    rng, made = Random(seed), []
    for n in range(count):
        payer, payee = f"a{rng.randrange(30)}", f"a{rng.randrange(30)}"
        amount = rng.randrange(-3, 100)
        value = EVENTS.encode(Pay(f"p{n}", payer, payee, amount))
        if rng.random() < 0.05:
            value = value[:-1]
        key = payer.encode()
        made.append((IN.partition_of(key), key, value))
    return made


def plain_fold(engine: Engine, topic_id: str, logs: dict[int, list[Record]]) -> list[Output]:
    """What the stage makes of these partitions, in memory, one record after another."""
    stage = engine.stage
    outputs: list[Output] = []
    for number, log in sorted(logs.items()):
        shard = Shard(
            stage.processor, topic_id, number, stage.topic.partitions, engine.registry.decode, stage.dead_letters
        )
        for record in log:
            outputs += shard.step(record)
    return outputs


Line = tuple[bytes | None, bytes | None, object]


def streams(outputs: Iterable[Output]) -> dict[tuple[str, int, str, int], list[Line]]:
    """Log outputs by (topic, partition, writing stage, its partition): (key, value, origin), in order."""
    found: dict[tuple[str, int, str, int], list[Line]] = {}
    for topic, partition, key, event, origin, version in outputs:
        if version is None and origin is not None:
            place = topic, partition, origin.source.stage, origin.source.partition
            found.setdefault(place, []).append((key, EVENTS.encode(event), origin))
    return found


def streams_on(topic: str, logs: dict[int, list[Record]]) -> dict[tuple[str, int, str, int], list[Line]]:
    """The same of a topic as it is read, repeats filtered out by a set of identities."""
    found: dict[tuple[str, int, str, int], list[Line]] = {}
    for number, log in sorted(logs.items()):
        seen = set()
        for record in log:
            if record.origin is not None and record.origin[:3] not in seen:
                seen.add(record.origin[:3])
                place = topic, number, record.origin.source.stage, record.origin.source.partition
                found.setdefault(place, []).append((record.key, record.value, record.origin))
    return found
