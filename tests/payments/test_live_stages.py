"""What the stages read and write, as live jobs and replays have it, is what the processors do."""

from payments import topics
from payments.live_stages import KINDS, TICKED, tick_values
from pipelines.payments import stages
from schemas.rails import Tick
from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments")


def test_the_kinds_are_the_stages_of_the_system() -> None:
    assert [(kind.stage, kind.topic) for kind in KINDS] == [(each.processor.stage, each.topic) for each in stages()]
    written = {topic for kind in KINDS for topic in (*kind.writes, *kind.upserts)}
    assert written == set(topics.ALL) - {topics.INCOMING}


def test_a_tick_for_every_partition_of_every_stage_with_deadlines() -> None:
    values = tick_values(1234, REGISTRY.encode)
    assert [(topic, n) for topic, n, _ in values] == [(topic.name, n) for topic in TICKED for n in range(16)]
    assert {REGISTRY.decode(value) for *_, value in values} == {Tick(1234)}
    assert topics.INCOMING not in TICKED
