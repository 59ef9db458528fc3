import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.plain_columns import pack_column, unpack_column

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.binary(max_size=5)
)
plain = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)
alike = st.sampled_from(
    [
        st.integers(-(2**63), 2**63 - 1),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(max_size=80),
        st.binary(max_size=80),
        st.none(),
        st.booleans(),
        st.tuples(st.integers(), st.text(max_size=4), st.tuples(st.floats(allow_nan=False))),
    ]
).flatmap(lambda values: st.lists(values, max_size=6))


@given(st.one_of(st.lists(plain, max_size=6), alike))
def test_gives_back_the_same_values_with_the_same_types(values):
    assert repr(unpack_column(pack_column(values))) == repr(values)


@pytest.mark.parametrize("values", [[1, 2, 3], ["a", "bc"], [b"", b"x"], [(1, "a"), (2, "b")], [0.5, -1.0]])
def test_values_that_are_alike_cost_no_tag_each(values):
    assert pack_column(values)[:1] != b"p"


@pytest.mark.parametrize("data", [b"", b"i", b"q" + bytes(12), pack_column([1]) + b"x"])
def test_refuses_bytes_of_others(data):
    with pytest.raises(ValueError, match="not a column"):
        unpack_column(data)


def test_refuses_what_is_not_plain():
    with pytest.raises(TypeError, match="set"):
        pack_column([{1}])
