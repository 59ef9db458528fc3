"""The simulator: a whole system of stages over a broker in memory, with faults between any two steps, all from one seed.

Workers do what a live driver does: restore, read, fold, append the outputs, claim, take a snapshot. Between any two of these steps, and
between any two appends, a worker may crash, be replaced while it goes on (a zombie, or a job launched twice), stand still, or append again
what was appended already (a lost acknowledgement); snapshots are torn, claims are lost, clients repeat themselves, and the broker's clock
jumps. In the end faults cease, everything comes to rest, and it must be true that

- every worker's shard, zombies' too, is byte for byte what a plain fold of its partition gives in which each repeat on the wire was
  replaced by a tick: so a repeat had no effect. The repeats are found by a set of origins, not by the marks of the engine;
- each writer's records on each partition, first appearances only, are what that fold gives, in order and without a gap, and the log
  holds nothing else but what clients and the ticker sent; upserts are at the fold's newest version;
- a record that became a dead letter changed nothing: with a tick in its place, entities, deadlines and shared state are the same;
- the counts add up to the offset, and the system's own checkers find nothing to complain about.

The order in which several writers' records stand on a partition differs from seed to seed, so runs are not compared with one another.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from schemas.rails import Origin, Record, Source, Tick
from transforms.errors import BadRecord
from transforms.fold import Output, Shard, Topic
from transforms.loop import Stage
from transforms.registry import Registry
from transforms.snapshots import TornSnapshot, encode_shard, restore_shard

MAX_STEPS = 1_000_000  # of all workers, between two ticks at the end

Partition = tuple[str, int]  # (topic name, partition number)


class SimulationFailed(AssertionError):
    """Something is not as it must be; the message begins with the seed that shows it again."""


class Sent(NamedTuple):
    """What a client sends: a record for one partition of a topic."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Faults:
    """How likely each fault is at each step of a worker; `repeat` and `jump` at each record of a client and each append."""

    crash: float = 0.02
    zombie: float = 0.01
    sleep: float = 0.01
    torn: float = 0.01
    old_claim: float = 0.01
    resend: float = 0.05
    repeat: float = 0.03
    jump: float = 0.02


NO_FAULTS = Faults(0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Outcome:
    """What a simulation leaves: logs as the broker has them, `effective` ones without repeats, upserts, and every shard, folded plainly."""

    logs: dict[Partition, list[Record]]
    effective: dict[Partition, list[Record]]
    upserts: dict[tuple[str, bytes], tuple[int, bytes]]
    shards: list[Shard]
    decode: Callable[[bytes], Any]

    def events(self, topic: str) -> dict[int, list[tuple[Record, Any]]]:
        """The effective log of a topic by partition: records with their events, None for a value that cannot be decoded."""
        return {
            number: [(record, self._event(record.value or b"")) for record in log]
            for (name, number), log in sorted(self.effective.items())
            if name == topic
        }

    def _event(self, value: bytes) -> Any:
        try:
            return self.decode(value)
        except BadRecord:
            return None


Checker = Callable[[Outcome], Iterable[str]]


@dataclass(frozen=True)
class System:
    """What is simulated. `inputs` makes the clients' records, in order, for a seed and the time (ms) at which the run starts.

    After the last of them ticks go on for `drain_ms`, one each `tick_ms`, on every partition of the `ticked` topics. Each checker gives
    a line of text per complaint.
    """

    stages: Sequence[Stage]
    registry: Registry
    inputs: Callable[[Random, int], Sequence[Sent]]
    ticked: Sequence[Topic] = ()
    checkers: Sequence[Checker] = ()
    drain_ms: int = 20_000
    tick_ms: int = 1000
    start: int = 1_760_000_000_000
    max_chunk: int = 8  # records that a worker takes at once, at most


@dataclass
class _Place:
    """One shard as the outside sees it: what it has claimed, and its snapshots by offset."""

    stage: Stage
    partition: int
    claims: list[int] = field(default_factory=lambda: [0])
    snapshots: dict[int, bytes] = field(default_factory=dict)
    torn: set[int] = field(default_factory=set)


class Worker:
    """Runs one shard the way a live driver does; `steps` stops wherever something may happen in between."""

    def __init__(self, simulation: "Simulation", place: _Place) -> None:
        self.simulation, self.place = simulation, place
        self.log = simulation.logs[place.stage.topic.name, place.partition]
        self.asleep_until = 0
        self.at_rest = False
        self.shard = simulation.make_shard(place)
        self.steps = self.work()

    def work(self) -> Iterator[None]:
        self.restore()
        yield
        while True:
            outputs = self.fold()
            yield
            yield from self.write(outputs)
            self.claim()
            yield
            if self.simulation.rng.random() < 0.2:
                self.snapshot()
                yield
            while self.shard.offset == len(self.log):
                self.at_rest = True
                yield
            self.at_rest = False

    def restore(self) -> None:
        """From the newest whole snapshot; what was claimed beyond it is folded without writing (contract line 9)."""
        place, log = self.place, self.log
        for _, data in sorted(place.snapshots.items(), reverse=True):
            try:
                restore_shard(self.shard, data)
            except TornSnapshot:
                continue
            break
        if self.shard.offset:
            self.shard.check_before(log[self.shard.offset - 1])
        while self.shard.offset < place.claims[-1]:
            self.shard.step(log[self.shard.offset])

    def fold(self) -> list[Output]:
        first, shard = self.shard.offset, self.shard
        count = self.simulation.rng.randint(1, self.simulation.system.max_chunk)
        return [output for record in self.log[first : first + count] for output in shard.step(record)]

    def write(self, outputs: Sequence[Output]) -> Iterator[None]:
        number, simulation = 0, self.simulation
        while number < len(outputs):
            simulation.append_output(outputs[number])
            number += 1
            if simulation.rng.random() < simulation.faults.resend:
                number = simulation.rng.randrange(number)  # no acknowledgement came: once more from there
            yield

    def claim(self) -> None:
        self.place.claims.append(self.shard.offset)

    def snapshot(self) -> None:
        place, offset, data = self.place, self.shard.offset, encode_shard(self.shard)
        if offset not in place.torn and place.snapshots.setdefault(offset, data) != data:
            raise SimulationFailed("two workers took different snapshots at the same offset")
        for old in sorted(place.snapshots)[:-3]:
            del place.snapshots[old]


class Simulation:
    """One run. `worker` and `shard` are for planted bugs: tests that see the simulator fail."""

    def __init__(
        self,
        system: System,
        seed: int,
        faults: Faults = Faults(),
        worker: type[Worker] = Worker,
        shard: type[Shard] = Shard,
    ) -> None:
        self.system, self.seed, self.faults = system, seed, faults
        self.worker, self.shard = worker, shard
        self.rng = Random(seed)
        self.now = system.start
        self.logs: defaultdict[Partition, list[Record]] = defaultdict(list)
        self.upserts: dict[tuple[str, bytes], tuple[int, bytes]] = {}
        self.places = [_Place(stage, n) for stage in system.stages for n in range(stage.topic.partitions)]
        self.workers = [worker(self, place) for place in self.places]
        self.step = 0

    def make_shard(self, place: _Place, kind: type[Shard] | None = None) -> Shard:
        stage, topic = place.stage, place.stage.topic
        decode, make = self.system.registry.decode, kind or self.shard
        return make(stage.processor, topic.topic_id, place.partition, topic.partitions, decode, stage.dead_letters)

    def run(self) -> Outcome:
        """Raises SimulationFailed when anything is wrong."""
        try:
            self._live()
            self._come_to_rest()
            return self._check()
        except Exception as error:
            what = error if isinstance(error, SimulationFailed) else f"{type(error).__name__}: {error}"
            raise SimulationFailed(f"seed {self.seed}: {what}") from error

    # --- the broker ---

    def append(self, partition: Partition, key: bytes | None, value: bytes | None, origin: Origin | None) -> None:
        at = self.now
        if self.rng.random() < self.faults.jump:
            at -= self.rng.randrange(300)  # another broker leads the partition now, and its clock is behind
        log = self.logs[partition]
        log.append(Record(len(log), at, key, value, origin, ()))

    def append_output(self, output: Output) -> None:
        value = self.system.registry.encode(output.event)
        if output.version is None:
            self.append((output.topic, output.partition), output.key, value, output.origin)
            return
        place = (output.topic, output.key or b"")
        held = self.upserts.get(place)
        if held is None or output.version > held[0]:
            self.upserts[place] = output.version, value
        elif output.version == held[0] and value != held[1]:
            raise SimulationFailed(f"two values of version {output.version} of {place}")

    def _tick(self) -> None:
        value = self.system.registry.encode(Tick(self.now))
        for topic in self.system.ticked:
            for number in range(topic.partitions):
                self.append((topic.name, number), None, value, None)

    # --- the run ---

    def _live(self) -> None:
        rng, faults, tick_ms = self.rng, self.faults, self.system.tick_ms
        inputs = list(self.system.inputs(rng, self.now))
        next_input, next_tick = 0, self.now + tick_ms
        while next_input < len(inputs):
            for _ in range(rng.randrange(30)):
                self._advance(self.workers[int(rng.random() * len(self.workers))])
            topic, partition, key, value = inputs[next_input]
            self.append((topic, partition), key, value, None)
            if rng.random() >= faults.repeat:  # else the client has seen no acknowledgement
                next_input += 1
            self.now += rng.randrange(100) if rng.random() >= faults.jump else rng.randrange(3 * tick_ms)
            if self.now >= next_tick:
                self._tick()
                next_tick = self.now + tick_ms

    def _advance(self, worker: Worker) -> None:
        """One step of a worker, or a fault instead."""
        self.step += 1
        if worker.asleep_until > self.step:
            return
        faults, roll = self.faults, self.rng.random()
        for name in ("crash", "zombie", "sleep", "torn", "old_claim"):
            roll -= getattr(faults, name)
            if roll < 0:
                getattr(self, f"_{name}")(worker)
                return
        next(worker.steps)

    def _crash(self, worker: Worker) -> None:
        self.workers[self.workers.index(worker)] = self.worker(self, worker.place)

    def _zombie(self, worker: Worker) -> None:
        if len(self.workers) < 2 * len(self.places):
            self.workers.append(self.worker(self, worker.place))

    def _sleep(self, worker: Worker) -> None:
        worker.asleep_until = self.step + self.rng.randrange(400)

    def _torn(self, worker: Worker) -> None:
        """The newest snapshot is damaged, and the worker crashes."""
        place = worker.place
        if place.snapshots:
            newest = max(place.snapshots)
            data = place.snapshots[newest]
            place.snapshots[newest] = data[: int(self.rng.random() * len(data))]
            place.torn.add(newest)
        self._crash(worker)

    def _old_claim(self, worker: Worker) -> None:
        """The runner goes back to an earlier checkpoint, and the worker crashes."""
        place = worker.place
        place.claims.append(self.rng.choice(place.claims))
        self._crash(worker)

    def _come_to_rest(self) -> None:
        self.faults = NO_FAULTS
        for _ in range(self.system.drain_ms // self.system.tick_ms):
            self._settle()
            self.now += self.system.tick_ms
            self._tick()
        self._settle()

    def _settle(self) -> None:
        """Lets every worker go on until there is nothing left to read."""
        steps, busy = 0, True
        while busy:
            busy = False
            for worker in self.workers:
                while not worker.at_rest or worker.shard.offset < len(worker.log):
                    busy = True
                    next(worker.steps)
                    steps += 1
                    if steps > MAX_STEPS:
                        raise SimulationFailed("does not come to rest")

    # --- the proof ---

    def _check(self) -> Outcome:
        complaints: list[str] = []
        effective = {partition: _without_repeats(log) for partition, log in self.logs.items()}
        written: dict[tuple[Source, str, int], list[tuple[bytes | None, bytes, Origin]]] = {}
        upserts: dict[tuple[str, bytes], tuple[int, bytes]] = {}
        shards: dict[Source, bytes] = {}
        plain = []
        for place in self.places:
            log = self.logs[place.stage.topic.name, place.partition]
            clients = place.stage.processor.from_clients
            repeats = set() if clients else _repeats(log)
            shard, outputs, dead = self._fold_plainly(place, log, repeats, set())
            for output in outputs:
                value = self.system.registry.encode(output.event)
                if output.origin is not None:
                    stream = written.setdefault((shard.source, output.topic, output.partition), [])
                    stream.append((output.key, value, output.origin))
                else:
                    upserts[output.topic, output.key or b""] = max(
                        (output.version or 0, value), upserts.get((output.topic, output.key or b""), (-1, b""))
                    )
            if dead:
                twin, _, _ = self._fold_plainly(place, log, repeats, dead)
                if _state(twin) != _state(shard):
                    complaints.append(f"{shard.source}: a record was refused after it had changed something")
            if sum(shard.counts.as_dict().values()) != len(log):
                complaints.append(f"{shard.source}: {shard.counts} do not add up to {len(log)}")
            shard.counts.ticks -= len(repeats)
            shard.counts.duplicate += len(repeats)
            shard._last = log[-1] if log else None
            shards[shard.source] = encode_shard(shard)
            plain.append(shard)
        for worker in self.workers:
            if encode_shard(worker.shard) != shards[worker.shard.source]:
                complaints.append(f"{worker.shard.source}: the worker's shard differs from a plain fold of its log")
        found: dict[tuple[Source, str, int], list[tuple[bytes | None, bytes | None, Origin]]] = {}
        for (topic, number), records in effective.items():
            for record in records:
                if record.origin is not None:
                    stream_of = found.setdefault((record.origin.source, topic, number), [])
                    stream_of.append((record.key, record.value, record.origin))
        for name in sorted(written.keys() | found.keys()):
            if written.get(name) != found.get(name):
                complaints.append(f"{name}: the log differs from what a plain fold writes")
        if upserts != self.upserts:
            complaints.append("upserts differ from the newest versions of a plain fold")
        outcome = Outcome(dict(self.logs), effective, self.upserts, plain, self.system.registry.decode)
        for checker in self.system.checkers:
            complaints += checker(outcome)
        if complaints:
            raise SimulationFailed("; ".join(complaints[:5]))
        return outcome

    def _fold_plainly(
        self, place: _Place, log: Sequence[Record], repeats: set[int], dead: set[int]
    ) -> tuple[Shard, list[Output], set[int]]:
        """A fold of the log by the engine as it is, with ticks at the offsets `repeats` and `dead`; these keep their origin.

        Gives the shard, its outputs, and the offsets of those records that became dead letters.
        """
        shard, outputs, buried = self.make_shard(place, Shard), [], set[int]()
        for record in log:
            before = shard.counts.dead_lettered
            if record.offset in repeats:
                outputs += shard.step(record._replace(key=None, value=None, origin=None), Tick(record.at))
            elif record.offset in dead:
                outputs += shard.step(record._replace(key=None, value=None), Tick(record.at))
            else:
                outputs += shard.step(record)
            if shard.counts.dead_lettered > before:
                buried.add(record.offset)
        return shard, outputs, buried


def _repeats(log: Sequence[Record]) -> set[int]:
    """Offsets of the records whose identity stood in the log before."""
    seen: set[tuple[Source, int, int]] = set()
    repeats = set()
    for record in log:
        if record.origin is not None:
            identity = record.origin[:3]
            if identity in seen:
                repeats.add(record.offset)
            seen.add(identity)
    return repeats


def _without_repeats(log: Sequence[Record]) -> list[Record]:
    repeats = _repeats(log)
    return [record for record in log if record.offset not in repeats]


def _state(shard: Shard) -> tuple[Any, ...]:
    """What a processor keeps, as bytes."""
    processor = shard.processor
    entities = {key: processor.entity_codec.encode(entity) for key, entity in shard.entities.items()}
    deadlines = {key: names for key, names in shard.deadlines.items() if names}
    shared = None if shard.shared is None else processor.shared_codec.encode(shard.shared)
    return entities, deadlines, shared
