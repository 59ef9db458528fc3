"""Events of your own, without schema files: NamedTuples with a schema id each, their Avro schemas derived from the fields.

For a processor that stands alone. Events whose schemas must evolve get a folder below `schemas` and a `Registry`.
"""

from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from schemas.rails import Record
from transforms.avro import Codec, compile_codec
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.fold import Topic
from transforms.registry import Registry

_PRIMITIVES = {int: "long", str: "string", bytes: "bytes", bool: "boolean", float: "double", NoneType: "null"}


class EventTypes(Registry):
    """A registry of the types in `types`, by schema id (100 or more), and of the rails' own (ticks, versions, rules, dead letters).

    Fields may be int, str, bytes, bool, float, another NamedTuple, `X | None`, `tuple[X, ...]` and `dict[str, X]`. An id, once
    used on a topic, stands for these very fields; changed fields are another type with another id.
    """

    def __init__(self, types: Mapping[int, type]) -> None:
        super().__init__("rails")
        self._types = dict(types)
        for number, kind in self._types.items():
            if not 100 <= number < 1 << 31:
                raise ValueError(f"{kind.__name__}: schema ids of your own begin at 100, got {number}")
            self._add(kind, number, codec_of(kind))

    def __reduce__(self) -> Any:
        return EventTypes, (self._types,)


def codec_of(kind: Any) -> Codec:
    """The codec of a NamedTuple, or of a plain type such as int: for the entities of a processor, so that they fit into snapshots."""
    records: dict[str, type] = {}
    return compile_codec(_schema(kind, records), records)


def _schema(kind: Any, records: dict[str, type]) -> Any:
    """The Avro schema of a type; adds the records in it to `records`."""
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        # null stands first, as is the custom
        return [_schema(branch, records) for branch in sorted(args, key=lambda branch: branch is not NoneType)]
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return {"type": "array", "items": _schema(args[0], records)}
    if origin is dict and args[0] is str:
        return {"type": "map", "values": _schema(args[1], records)}
    if not (isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")):
        raise TypeError(f"no Avro type for {kind}")
    name = kind.__name__
    if name in records:
        if records[name] is not kind:
            raise TypeError(f"two types have the name {name}")
        return name
    records[name] = kind
    hints = get_type_hints(kind)
    fields = [{"name": field, "type": _schema(hints[field], records)} for field in kind._fields]
    return {"type": "record", "name": name, "fields": fields}


def pack_events(topic: Topic, registry: Registry, events: Iterable[tuple[int, str, Any]]) -> list[Chunk]:
    """A topic in chunks, of (append time in ms, key, event) in log order: input for tests, examples and small jobs."""
    partitions: dict[int, list[Record]] = {}
    for at, key, event in events:
        raw = key.encode()
        log = partitions.setdefault(topic.partition_of(raw), [])
        log.append(Record(len(log), at, raw, registry.encode(event), None, ()))
    return [chunk for number, log in sorted(partitions.items()) for chunk in pack_chunks(topic.name, number, log)]


def unpack_events(chunk: Chunk, registry: Registry) -> list[Any]:
    """The events of a chunk."""
    return [registry.decode(record.value or b"") for record in unpack_chunk(chunk)]
