"""Events as plain objects: what JSON and fastavro hold (dicts, lists, strings, numbers), strictly turned into typed records and back.

An object has the fields of its event; fields with a default may be missing (a nullable field's default is null). Nested records are
objects, arrays lists, bytes strings of the characters 0 to 255 (as in Avro's JSON), times integers in ms or ISO 8601 strings.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any

from transforms.errors import BadRecord
from transforms.registry import Registry
from transforms.schema_files import container_schema

_Build = Callable[[Any], Any]
_EPOCH, _MS = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_RANGES = {"int": 1 << 31, "long": 1 << 63, "time": 1 << 63}
LAST_TIME = 253_402_300_799_999  # ms, the last of the year 9999: what ISO 8601 and Python's calendar can say


class EventObjects:
    """Turns objects into the events of a registry and back."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._types: dict[str, type] = {}
        for domain in registry.domains:
            self._types.update(import_module(f"schemas.{domain}").RECORDS)
        self._names = {kind: name for name, kind in self._types.items()}
        self._builders: dict[str, _Build] = {}

    @staticmethod
    @cache
    def of(registry: Registry) -> "EventObjects":
        """Those of this registry, one per process."""
        return EventObjects(registry)

    def knows(self, name: str) -> bool:
        """Whether `name` is the full name of an event, which has a schema id."""
        try:
            self._registry.frame(self._types[name])
        except KeyError:
            return False
        return True

    def type(self, name: str) -> type:
        """The class of the event of that full name."""
        return self._types[name]

    def name(self, event: Any) -> str:
        """The full name of an event's type."""
        return self._names[type(event)]

    def event(self, name: str, value: Any) -> Any:
        """The event `name` of an object; BadRecord, naming the field, when it is none."""
        build = self._builders.get(name)
        if build is None:
            build = self._builders[name] = _builder(container_schema(name), self._types, {}, "")
        return build(value)

    def read_line(self, line: bytes) -> tuple[Any, int | None]:
        """(event, append time in ms or None) of a line of JSONL: an object with the event's fields, `type` (its full name) and, if the line
        is to say it, `at`. For a type with a field `at` of its own, it is both. BadRecord for any other line.
        """
        fields = _object(line)
        name = fields.pop("type", None)
        if not isinstance(name, str) or not self.knows(name):
            raise BadRecord("NOT_AN_EVENT", "type")
        at = None
        if "at" in fields:
            at = append_time(fields["at"])
            if "at" not in self._types[name]._fields:  # type: ignore[attr-defined] # records are NamedTuples
                del fields["at"]
        return self.event(name, fields), at

    def line_time(self, line: bytes) -> int | None:
        """The append time that a line has even if it is no event."""
        try:
            return append_time(_object(line)["at"])
        except (BadRecord, KeyError):
            return None

    def write_line(self, event: Any, at: int | None = None) -> bytes:
        """The line of JSONL that `read_line` makes this event and time of; for a type with a field `at`, that field is the time."""
        fields = {"type": self.name(event)}
        if at is not None and not hasattr(event, "at"):
            fields["at"] = at  # type: ignore[assignment]
        return json.dumps(fields | _plain(event), ensure_ascii=False, separators=(",", ":")).encode()


def append_time(value: Any) -> int:
    """Milliseconds since 1970 from an integer or an ISO 8601 string (UTC where it names no offset); BadRecord outside 1970 to 9999."""
    ms = _time("at")(value)
    if not 0 <= ms <= LAST_TIME:
        raise BadRecord("NOT_AN_EVENT", "at: not within the years 1970 to 9999")
    return int(ms)


def _object(line: bytes) -> dict[str, Any]:
    try:
        fields = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        raise BadRecord("NOT_AN_EVENT", "not JSON") from None
    if type(fields) is not dict:
        raise BadRecord("NOT_AN_EVENT", "not an object")
    return fields


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name twice in an object")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats, parse_constant=_no_constant)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        if hasattr(value, "_fields"):
            return {name: _plain(part) for name, part in zip(value._fields, value, strict=True)}
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value.decode("latin-1") if isinstance(value, bytes) else value


# --- builders, one per part of a schema; `where` is the path of the field for messages ---


def _bad(where: str, wanted: str) -> BadRecord:
    return BadRecord("NOT_AN_EVENT", f"{where or 'event'}: not {wanted}")


def _builder(schema: Any, types: dict[str, type], named: dict[str, Any], where: str) -> _Build:
    if isinstance(schema, list):
        return _union(schema, [_builder(branch, types, named, where) for branch in schema if branch != "null"], where)
    if isinstance(schema, str):
        return _builder(named[schema], types, named, where) if schema in named else _primitive(schema, where)
    kind = schema["type"]
    if "name" in schema:
        named[f"{schema['namespace']}.{schema['name']}" if "namespace" in schema else schema["name"]] = schema
    if kind == "record":
        return _record(schema, types, named, where)
    if kind == "enum":
        return _enum(frozenset(schema["symbols"]), where)
    if kind == "array":
        return _array(_builder(schema["items"], types, named, where + "[]"), where)
    if kind == "map":
        return _map(_builder(schema["values"], types, named, where + "[]"), where)
    return _time(where) if schema.get("logicalType") == "timestamp-millis" else _primitive(kind, where)


_REQUIRED = object()


def _record(schema: dict[str, Any], types: dict[str, type], named: dict[str, Any], where: str) -> _Build:
    kind = types[f"{schema['namespace']}.{schema['name']}"]
    parts = []
    for field in schema["fields"]:
        path = f"{where}.{field['name']}" if where else field["name"]
        build = _builder(field["type"], types, named, path)
        default = build(field["default"]) if "default" in field else _REQUIRED
        parts.append((field["name"], path, build, default))
    names = frozenset(name for name, *_ in parts)

    def build_record(value: Any) -> Any:
        if type(value) is not dict:
            raise _bad(where, "an object")
        if not value.keys() <= names:
            raise BadRecord("NOT_AN_EVENT", f"{where or 'event'}: has a field that is not one of its type")
        fields = []
        for name, path, build, default in parts:
            if name in value:
                fields.append(build(value[name]))
            elif default is _REQUIRED:
                raise BadRecord("NOT_AN_EVENT", f"{path}: missing")
            else:
                fields.append(default)
        return kind(*fields)

    return build_record


def _union(schema: list[Any], branches: list[_Build], where: str) -> _Build:
    nullable = "null" in schema

    def build_union(value: Any) -> Any:
        if value is None and nullable:
            return None
        for branch in branches[:-1]:
            try:
                return branch(value)
            except BadRecord:
                continue
        return branches[-1](value)

    return build_union


def _enum(symbols: frozenset[str], where: str) -> _Build:
    def build_enum(value: Any) -> str:
        if type(value) is not str or value not in symbols:
            raise _bad(where, "one of its values")
        return value

    return build_enum


def _array(item: _Build, where: str) -> _Build:
    def build_array(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _bad(where, "a list")
        return tuple(map(item, value))

    return build_array


def _map(item: _Build, where: str) -> _Build:
    def build_map(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise _bad(where, "an object")
        return {name: item(part) for name, part in value.items()}

    return build_map


def _time(where: str) -> _Build:
    integer = _integer("time", where)

    def build_time(value: Any) -> int:
        if type(value) is str:
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise _bad(where, "a time") from None
            value = value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, datetime):
            return (value - _EPOCH) // _MS
        return int(integer(value))

    return build_time


def _integer(kind: str, where: str) -> _Build:
    limit = _RANGES[kind]

    def build_integer(value: Any) -> int:
        if type(value) is not int or not -limit <= value < limit:
            raise _bad(where, f"{'a time' if kind == 'time' else 'an ' + kind}" if kind != "long" else "a long")
        return value

    return build_integer


def _primitive(kind: str, where: str) -> _Build:
    if kind in _RANGES:
        return _integer(kind, where)
    if kind == "bytes":
        return _bytes(where)
    if kind in ("float", "double"):
        return _number(where)
    wanted = {"string": str, "boolean": bool}[kind]

    def build_primitive(value: Any) -> Any:
        if type(value) is not wanted:
            raise _bad(where, f"a {kind}")
        return value

    return build_primitive


def _number(where: str) -> _Build:
    def build_number(value: Any) -> float:
        if type(value) not in (int, float):
            raise _bad(where, "a number")
        return float(value)

    return build_number


def _bytes(where: str) -> _Build:
    def build_bytes(value: Any) -> bytes:
        if type(value) is bytes:
            return value
        try:
            return str.encode(value, "latin-1")
        except (TypeError, UnicodeEncodeError):
            raise _bad(where, "bytes") from None

    return build_bytes
