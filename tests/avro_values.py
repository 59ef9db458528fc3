"""Hypothesis strategies: Avro schemas, values of a schema, damaged messages; and values as fastavro wants them."""

import io
import itertools
from collections import namedtuple
from collections.abc import Mapping
from typing import Any

import fastavro
from hypothesis import strategies as st

from transforms.avro_schema import Array, Enum, Fixed, Map, Primitive, Record, Type, Union

_LONGS = st.one_of(
    st.integers(-70, 70),
    st.integers(-(1 << 22), 1 << 22),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from(
        [s * (1 << k) + d for k in (6, 7, 13, 14, 20, 21, 27, 34, 41, 48, 55, 62) for s in (1, -1) for d in (-1, 0)]
    ),
    st.sampled_from([(1 << 63) - 1, -(1 << 63)]),
)
_TEXTS = st.one_of(
    st.sampled_from(["", "EUR", "pay-0000000001", "x" * 63, "x" * 64, "ü", "€uro", "𝄞" * 20]), st.text(max_size=70)
)
_PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.one_of(st.integers(-70, 70), st.integers(-(1 << 31), (1 << 31) - 1)),
    "long": _LONGS,
    "timestamp": st.one_of(st.integers(1_700_000_000_000, 1_800_000_000_000), _LONGS),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.one_of(st.binary(max_size=8), st.binary(min_size=60, max_size=70)),
    "string": _TEXTS,
}


def values(of: Type, types: Mapping[str, type], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a type as our codecs take them: records are `types[full name]`."""
    if isinstance(of, Primitive):
        return _PRIMITIVES[of.name]
    if isinstance(of, Enum):
        return st.sampled_from(of.symbols)
    if isinstance(of, Fixed):
        return st.binary(min_size=of.size, max_size=of.size)
    if isinstance(of, Union):
        branches = [b for b in of.branches if depth < 3 or not (isinstance(b, Record) and b.recursive)]
        return st.one_of([values(branch, types, depth) for branch in branches])
    if isinstance(of, Array | Map) and depth >= 3:
        return st.just(() if isinstance(of, Array) else {})
    if isinstance(of, Array):
        return st.lists(values(of.items, types, depth + 1), max_size=3).map(tuple)
    if isinstance(of, Map):
        return st.dictionaries(_TEXTS, values(of.values, types, depth + 1), max_size=3)
    fields = [values(part, types, depth + 1) for part in of.fields.values()]
    return st.tuples(*fields).map(lambda parts: types[of.name](*parts))


def for_fastavro(of: Type, value: Any) -> Any:
    """The value as fastavro's writer takes it."""
    if isinstance(of, Union):
        for branch in of.branches:
            if _fits(branch, value):
                plain = for_fastavro(branch, value)
                # Named, because fastavro puts an integer in a branch of doubles if that comes first.
                name = (
                    "long"
                    if isinstance(branch, Primitive) and branch.name == "timestamp"
                    else getattr(branch, "name", "")
                )
                return (name, plain) if isinstance(branch, Record | Primitive) else plain
        raise AssertionError(f"no branch for {value!r}")
    if isinstance(of, Array):
        return [for_fastavro(of.items, item) for item in value]
    if isinstance(of, Map):
        return {key: for_fastavro(of.values, item) for key, item in value.items()}
    if isinstance(of, Record):
        return {name: for_fastavro(part, getattr(value, name)) for name, part in of.fields.items()}
    return value


def _fits(of: Type, value: Any) -> bool:
    if isinstance(of, Record):
        return type(value).__name__ == of.name.rpartition(".")[2]
    if isinstance(of, Array | Map):
        return type(value) is (tuple if isinstance(of, Array) else dict)
    if isinstance(of, Primitive):
        kinds = {"null": type(None), "boolean": bool, "float": float, "double": float, "bytes": bytes, "string": str}
        return type(value) is kinds.get(of.name, int)
    return type(value) is (str if isinstance(of, Enum) else bytes)


def written_by_fastavro(schema: Any, of: Type, value: Any) -> bytes:
    """What fastavro writes for the value."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), for_fastavro(of, value))
    return out.getvalue()


@st.composite
def record_schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Schemas of records with anything inside that Avro has; some are recursive."""
    numbers = itertools.count()
    return draw(_records(numbers, 3))


@st.composite
def _records(draw: st.DrawFn, numbers: Any, depth: int) -> dict[str, Any]:
    name = f"R{next(numbers)}"
    kinds = draw(
        st.lists(st.sampled_from(["any", "any", "any", "self", "selves"]), min_size=0 if depth < 3 else 1, max_size=5)
    )
    fields = []
    for n, kind in enumerate(kinds):
        of = {"self": ["null", f"test.{name}"], "selves": {"type": "array", "items": name}}.get(kind) or draw(
            _types(numbers, depth - 1)
        )
        fields.append({"name": f"f{n}", "type": of})
    return {"type": "record", "name": name, "namespace": "test", "fields": fields}


@st.composite
def _types(draw: st.DrawFn, numbers: Any, depth: int) -> Any:
    kinds = ["primitive", "primitive", "time", "enum", "fixed", *(["array", "map", "union", "record"] if depth else [])]
    kind = draw(st.sampled_from(kinds))
    if kind == "primitive":
        return draw(st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"]))
    if kind == "time":
        return {"type": "long", "logicalType": "timestamp-millis"}
    if kind == "enum":
        count = draw(st.sampled_from([1, 3, 64, 65, 130]))
        return {"type": "enum", "name": f"E{next(numbers)}", "symbols": [f"S{n}" for n in range(count)]}
    if kind == "fixed":
        return {"type": "fixed", "name": f"F{next(numbers)}", "size": draw(st.integers(1, 20))}
    if kind == "array":
        return {"type": "array", "items": draw(_types(numbers, depth - 1))}
    if kind == "map":
        return {"type": "map", "values": draw(_types(numbers, depth - 1))}
    if kind == "record":
        return draw(_records(numbers, depth - 1))
    # Branches of a union have Python types of their own, else a value would not say which of them it is.
    branches = draw(
        st.lists(
            st.sampled_from(["null", "boolean", "int", "double", "string", "bytes", "map", "array"]),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    union: list[Any] = [
        {"type": "map", "values": "long"} if b == "map" else {"type": "array", "items": "string"} if b == "array" else b
        for b in branches
    ]
    if draw(st.booleans()):
        union.append(draw(_records(numbers, 1)))
    return union


def record_types(of: Type, found: dict[str, type] | None = None) -> dict[str, type]:
    """A named tuple for every record in a type."""
    found = {} if found is None else found
    if isinstance(of, Record) and of.name not in found:
        found[of.name] = namedtuple(of.name.rpartition(".")[2], list(of.fields))
        for part in of.fields.values():
            record_types(part, found)
    elif isinstance(of, Union):
        for branch in of.branches:
            record_types(branch, found)
    elif isinstance(of, Array | Map):
        record_types(of.items if isinstance(of, Array) else of.values, found)
    return found


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with up to three small things wrong: a byte changed, left out or put in, the end cut off or made longer."""
    raw = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(raw)))
        byte = draw(st.one_of(st.sampled_from([0, 1, 2, 4, 0x7F, 0x80, 0x81, 0xFF]), st.integers(0, 255)))
        what = draw(st.sampled_from(["change", "change", "leave out", "put in", "cut", "append"]))
        if what == "put in" or place == len(raw):
            raw.insert(place, byte)
        elif what == "change":
            raw[place] = byte
        elif what == "leave out":
            del raw[place]
        elif what == "cut":
            del raw[place:]
        else:
            raw.append(byte)
    return bytes(raw)
