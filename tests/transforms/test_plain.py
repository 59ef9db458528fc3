import contextlib
import math
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.plain import PlainTupleCoder, decode_plain, encode_plain

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.just("x" * 200)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def same(a: Any, b: Any) -> bool:
    """Equal and of the same types, all the way down: 1, 1.0 and True are three values here."""
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return bool(a == b)


@given(VALUES)
def test_values_come_back_with_their_types(value: Any) -> None:
    assert same(decode_plain(encode_plain(value)), value)


@given(VALUES, VALUES)
def test_different_values_have_different_bytes(a: Any, b: Any) -> None:
    assert (encode_plain(a) == encode_plain(b)) == same(a, b)


@given(VALUES, st.data())
def test_no_proper_prefix_and_nothing_longer_is_a_value(value: Any, data: st.DataObject) -> None:
    raw = encode_plain(value)
    with pytest.raises(ValueError, match=r"not the encoding of a plain value: \d+ bytes"):
        decode_plain(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(ValueError):
        decode_plain(raw + b"n")


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_value_error(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode_plain(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"i\x00",
        b"s\x01\xff",
        b"d\x00",
        b"b\x05abc",
        b"t" + b"\xff" * 9 + b"\x01",
        b"m\x01m\x00n",
        b"t\x01" * 99_999,
    ],
    ids=[
        "empty",
        "unknown",
        "int of no bytes",
        "not UTF-8",
        "short float",
        "short bytes",
        "long tuple",
        "dict as key",
        "deep",
    ],
)
def test_hostile_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not the encoding of a plain value"):
        decode_plain(raw)


@pytest.mark.parametrize("value", [[1], {1}, object(), (1, [2]), {"a": {3}}, complex(1)])
def test_other_types_are_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match=r"not a plain value: (list|set|object|complex)"):
        encode_plain(value)


class Pair(NamedTuple):
    name: str
    count: Any


class PairCoder(PlainTupleCoder):
    kind = Pair


def test_a_named_tuple_comes_back_as_its_class() -> None:
    coder = PairCoder()
    back = coder.decode(coder.encode(Pair("a", (1, b"x"))))
    assert back == Pair("a", (1, b"x"))
    assert type(back) is Pair
    assert coder.is_deterministic()
