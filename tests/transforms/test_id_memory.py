import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.id_memory import IdMemory, digest_of

visits = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), max_size=40)


def run(memory, steps, start=0, clock=0):
    """What the memory says about each visit; clocks grow by the steps."""
    said = []
    for number, (name, step) in enumerate(steps, start):
        clock += step
        said.append(memory.recall(digest_of(name.encode()), number, clock))
    return said, clock


@given(visits, st.integers(1, 30), st.data())
def test_an_id_is_remembered_for_exactly_its_time(steps, ttl, data):
    memory = IdMemory(ttl, data.draw(st.integers(1, ttl)))
    first, expected, clock = {}, [], 0
    for number, (name, step) in enumerate(steps):
        clock += step
        held = first.get(name)
        if held is not None and clock - held[1] <= ttl:
            expected.append(held[0])
        else:
            first[name] = number, clock
            expected.append(None)
    assert run(memory, steps)[0] == expected


@given(visits, visits, st.integers(1, 30))
def test_entries_make_the_same_memory_again(before, after, ttl):
    one, other = IdMemory(ttl), IdMemory(ttl)
    _, clock = run(one, before)
    other.put_all(one.entries())
    assert len(list(one.entries())) == len(one)
    assert run(other, after, 100, clock) == run(one, after, 100, clock)


def test_old_buckets_are_dropped():
    memory = IdMemory(100, 10)
    for i in range(1000):
        assert memory.recall(digest_of(b"%d" % i), i, i) is None
    assert 100 <= len(memory) <= 121


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "ttl_ms .* got 0"),
        ((1.5,), "ttl_ms .* got 1.5"),
        ((5, 0), "bucket_ms .* got 0"),
        ((5, 6), "bucket_ms .* got 6"),
    ],
)
def test_refuses_bad_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        IdMemory(*arguments)
