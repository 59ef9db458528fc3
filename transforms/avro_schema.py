"""Avro schemas as a tree of types, checked: what the codec compiler works on.

References are resolved, names are full, `timestamp-millis` is a type of its own. Other logical types count as what they are made of.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
MAX_BRANCHES = 64  # of a union: their indexes fit in one byte
MAX_DEPTH = 32  # of a recursive type

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")  # names end up in generated code


@dataclass(frozen=True, eq=False)
class Primitive:
    name: str  # one of PRIMITIVES, or "timestamp": a long of milliseconds since 1970 UTC


@dataclass(frozen=True, eq=False)
class Enum:
    name: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Fixed:
    name: str
    size: int


@dataclass(frozen=True, eq=False)
class Array:
    items: "Type"


@dataclass(frozen=True, eq=False)
class Map:
    values: "Type"


@dataclass(frozen=True, eq=False)
class Union:
    branches: tuple["Type", ...]


@dataclass(eq=False)
class Record:
    """fields: name → type, in order; recursive: whether a value may hold another of the same type."""

    name: str
    fields: dict[str, "Type"] = field(default_factory=dict)
    recursive: bool = False


Type = Primitive | Enum | Fixed | Array | Map | Union | Record


def parse_schema(schema: Any) -> Type:
    """The type that `schema` describes, named types inlined or referred to by name. ValueError says what is wrong with it."""
    named: dict[str, Type] = {}
    top = _parse(schema, "", named)
    for record in named.values():
        if isinstance(record, Record):
            record.recursive = any(_reaches(of, record, set()) for of in record.fields.values())
    return top


def _parse(schema: Any, namespace: str, named: dict[str, Type]) -> Type:
    if isinstance(schema, str):
        if schema in PRIMITIVES:
            return Primitive(schema)
        name = _full_name(schema, namespace)
        if name not in named:
            raise ValueError(f"unknown type {name}")
        return named[name]
    if isinstance(schema, list):
        if not 0 < len(schema) <= MAX_BRANCHES:
            raise ValueError(f"a union has 1 to {MAX_BRANCHES} branches, got {len(schema)}")
        return Union(tuple(_parse(branch, namespace, named) for branch in schema))
    if not isinstance(schema, Mapping) or "type" not in schema:
        raise ValueError(f"not a schema: {schema!r}")
    kind = schema["type"]
    if kind == "array":
        return Array(_parse(schema["items"], namespace, named))
    if kind == "map":
        return Map(_parse(schema["values"], namespace, named))
    if kind in ("record", "enum", "fixed"):
        return _parse_named(kind, schema, namespace, named)
    if kind == "long" and schema.get("logicalType") == "timestamp-millis":
        return Primitive("timestamp")
    return _parse(kind, namespace, named)


def _parse_named(kind: str, schema: Mapping[str, Any], namespace: str, named: dict[str, Type]) -> Type:
    name = _full_name(schema["name"], schema.get("namespace", namespace))
    if name in named or not all(map(_NAME.match, name.split("."))):
        raise ValueError(f"a type's name must be new and made of letters, digits and _, got {name}")
    if kind == "enum":
        symbols = tuple(schema["symbols"])
        if len(set(symbols)) < len(symbols):
            raise ValueError(f"{name}: symbols are not unique")
        named[name] = Enum(name, symbols)
    elif kind == "fixed":
        if type(schema["size"]) is not int or schema["size"] < 0:
            raise ValueError(f"{name}: size must be a number of bytes, got {schema['size']!r}")
        named[name] = Fixed(name, schema["size"])
    else:
        record = named[name] = Record(name)
        for part in schema["fields"]:
            if part["name"] in record.fields or not _NAME.match(part["name"]):
                raise ValueError(
                    f"{name}: a field's name must be new and made of letters, digits and _, got {part['name']}"
                )
            record.fields[part["name"]] = _parse(part["type"], name.rpartition(".")[0], named)
    return named[name]


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _reaches(of: Type, target: Record, seen: set[Record]) -> bool:
    """Whether a value of type `of` may hold a `target`."""
    if isinstance(of, Union):
        return any(_reaches(branch, target, seen) for branch in of.branches)
    if isinstance(of, Array | Map):
        return _reaches(of.items if isinstance(of, Array) else of.values, target, seen)
    if not isinstance(of, Record) or of in seen:
        return of is target
    seen.add(of)
    return of is target or any(_reaches(part, target, seen) for part in of.fields.values())
