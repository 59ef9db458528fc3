"""Values and outputs of a lane: compiled or not, they are the same, and the readers of both understand them."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.rails import Origin, Position
from tests.transforms import toys
from tests.transforms.toys import STATES, Do, Said, Unread, make_shard
from transforms import lane_values
from transforms.avro_runtime import enc_long
from transforms.fetched import Fetched
from transforms.fold import Emitted
from transforms.kafka_headers import Headings, decode_version, read_headers
from transforms.lane_values import OutputMaker, ValueReader

BARE = Headings(trace=False)
NOTHING = Fetched(0, 0, [], [], [])


@pytest.fixture(params=["compiled", "python"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways, where one is compiled."""
    if request.param == "python":
        monkeypatch.setattr(lane_values, "decode_values", None)
        monkeypatch.setattr(lane_values, "make_outputs", None)
    elif lane_values.make_outputs is None:
        pytest.skip("nothing is compiled")
    yield request.param


def random_outputs(seed: int, count: int = 200) -> list[Emitted]:
    """Log outputs to some partitions, and upserts of some keys with versions that rise."""
    rng = random.Random(seed)
    emitted: list[Emitted] = []
    offset = rng.choice([0, 2**31, 2**62])
    for n in range(count):
        offset += rng.choice([0, 1, 1, 300])
        key = rng.choice([b"a", b"b", b"", None])
        if rng.random() < 0.4:
            name = (key or b"").decode()
            emitted.append((STATES.name, 0, key, Said(name, "is", n), offset, 0, 2**40 + n))
        else:
            event = Do(f"key-{n}" * rng.choice([1, 1, 300]), "say", n)
            emitted.append((rng.choice(["out", "toy.in"]), rng.randrange(3), key, event, offset, n, None))
    return emitted


def maker(emitted: list[Emitted], headings: Headings = BARE) -> tuple[OutputMaker, Any]:
    shard = make_shard()
    shard.prevs["out", 1] = Position(0, 0)
    return OutputMaker(toys.EVENTS, shard, headings), shard


@pytest.mark.parametrize("seed", range(6))
def test_outputs_say_what_was_emitted_and_follow_one_another(form: str, seed: int) -> None:
    emitted = random_outputs(seed)
    make, shard = maker(emitted)
    made = make.make([1] * len(emitted), emitted, NOTHING)
    newest = {(one[0], one[2]): one for one in emitted if one[6] is not None}
    kept = [one for one in emitted if one[6] is None or newest[one[0], one[2]] is one]
    assert 0 < len(made) == len(kept) < len(emitted)
    prevs: dict[tuple[str, int], Position] = {("out", 1): Position(0, 0)}
    for (topic, partition, key, value, headers), one in zip(made, kept, strict=True):
        assert (topic, partition, key, toys.EVENTS.decode(value)) == one[:4]
        if one[6] is not None:
            assert [name for name, _ in headers] == ["rails-version"] and decode_version(headers[0][1]) == one[6]
            continue
        place = Position(one[4], one[5])
        origin = Origin(shard.source, *place, prevs.get((topic, partition)))
        assert read_headers(headers) == (origin, (), None)
        prevs[topic, partition] = place
    assert shard.prevs == prevs and {type(position) for position in shard.prevs.values()} == {Position}


def test_a_second_step_goes_on_behind_the_first(form: str) -> None:
    emitted = random_outputs(1)
    whole, _ = maker(emitted)
    parts, _ = maker(emitted)
    logs = [one for one in emitted if one[6] is None]
    first = parts.make([1] * 50, logs[:50], NOTHING)
    second = parts.make([1] * (len(logs) - 50), logs[50:], NOTHING)
    assert [*first, *second] == whole.make([1] * len(logs), logs, NOTHING)


def test_more_headers_are_written_behind_the_origin(form: str) -> None:
    emitted = random_outputs(2)
    bare, _ = maker(emitted)
    traced, _ = maker(emitted, Headings(trace=True))
    made = traced.make([1] * len(emitted), emitted, NOTHING)
    assert [(*one[:4], one[4][:1]) for one in made] == bare.make([1] * len(emitted), emitted, NOTHING)
    assert all(len(one[4]) == 2 for one in made)


@pytest.mark.parametrize(
    ("event", "place", "error"),
    [
        (Position(1, 2), (1, 1), KeyError),  # a type without an id
        (Do("a", "say", 2**63), (1, 1), ValueError),
        (Do("a", "say", 1), (1, 2**31), Exception),  # an index has 4 bytes
        (Do("a", "say", 1), (2**63, 1), Exception),
    ],
)
def test_what_cannot_be_written_is_refused(form: str, event: Any, place: tuple[int, int], error: type[Exception]) -> None:
    make, _ = maker([])
    with pytest.raises(error):
        make.make([1], [("out", 0, b"a", event, *place, None)], NOTHING)


@pytest.mark.parametrize("version", [1.9, 2**63, "1"])
def test_a_version_that_is_no_integer_is_refused(form: str, version: Any) -> None:
    make, _ = maker([])
    with pytest.raises(Exception):  # noqa: B017 # which one depends on the form; the lane stops by any
        make.make([1], [(STATES.name, 0, b"a", Said("a", "is", 1), 3, 0, version)], NOTHING)


def test_values_become_events(form: str) -> None:
    rng = random.Random(3)
    good = [toys.EVENTS.encode(Do(f"k{n}", "say", n)) for n in range(30)]
    other = toys.EVENTS.encode(Unread("a"))
    bad = [b"", b"\0", good[0][:5], good[0][:-1], good[0] + b"\0", b"\1" + good[0][1:], b"\0\0\0\0\0abc"]
    values = [*good, *bad]
    rng.shuffle(values)
    reader = ValueReader(toys.EVENTS, (Do,))
    expected = [toys.EVENTS.decode(value) if value in good else None for value in values]
    assert reader.read(values) == expected
    # A kind that the stage does not read is left to the shard, or decoded already.
    assert reader.read([good[0], other])[1] in (None, Unread("a"))


def do_of(size: int) -> bytes:
    """A `Do` whose Avro has `size` bytes, for sizes whose text has a length of three bytes."""
    text = size - 6  # that length; "v" with its own; n
    return toys.EVENTS.frame(Do) + enc_long(text) + b"k" * text + enc_long(1) + b"v" + enc_long(1)


def test_a_value_that_is_too_large_is_none(form: str) -> None:
    at_most, over = do_of(1 << 20), do_of((1 << 20) + 1)
    assert len(at_most) == 5 + (1 << 20)
    read = ValueReader(toys.EVENTS, (Do,)).read([at_most, over])
    assert isinstance(read[0], Do) and read[1] is None
