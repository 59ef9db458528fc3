"""The registry: schema ids, and events as Confluent-framed values (a zero byte, the id in four bytes, Avro)."""

from functools import cache
from importlib import import_module
from typing import Any

import schemas
from transforms.avro import MAX_BYTES, MAX_ITEMS, Codec, compile_codec
from transforms.errors import BadRecord

# Size and items. A dead letter holds a record that may be larger, and have more headers, than any that is accepted.
_BOUNDS = {"rails.DeadLetter": (1 << 28, 1 << 20)}


class Registry:
    """Writes and reads the events of some domains, each a package below `schemas` with its `RECORDS`.

    A type without an id in ids.json stands inside others and has no frame of its own. On a worker it is made again from the names
    of the domains: codecs do not travel.
    """

    def __init__(self, *domains: str) -> None:
        self.domains = domains
        types: dict[str, type] = {}
        for domain in domains:
            types.update(import_module(f"schemas.{domain}").RECORDS)
        self._writers: dict[type, tuple[bytes, Codec]] = {}
        self._readers: dict[bytes, Codec] = {}
        for name, versions in schemas.schema_ids().items():
            if name not in types:
                continue
            codec = compile_codec(schemas.load_schema(name), types, *_BOUNDS.get(name, (MAX_BYTES, MAX_ITEMS)))
            self._add(types[name], versions[-1]["id"], codec)

    def _add(self, kind: type, number: int, codec: Codec) -> None:
        frame = b"\0" + number.to_bytes(4, "big")
        self._writers[kind] = frame, codec
        self._readers[frame] = codec

    @staticmethod
    @cache
    def of(*domains: str) -> "Registry":
        """The registry of these domains, one per process."""
        return Registry(*domains)

    def __reduce__(self) -> Any:
        return Registry.of, self.domains

    def frame(self, kind: type) -> bytes:
        """The five bytes that values of this type begin with."""
        return self._writers[kind][0]

    @property
    def kinds(self) -> tuple[type, ...]:
        """All types that have an id."""
        return tuple(self._writers)

    def schema(self, kind: type) -> Any:
        """The Avro schema of the values of this type, self-contained."""
        return self.codec(kind).schema

    def codec(self, kind: type) -> Codec:
        """The codec of the values of this type, behind their frame; KeyError for a type without an id."""
        return self._writers[kind][1]

    def encode(self, event: Any) -> bytes:
        """The framed value of an event; KeyError for a type without an id."""
        frame, codec = self._writers[type(event)]
        return codec.encode_behind(frame, event)

    def decode(self, value: bytes) -> Any:
        """The event of a framed value; BadRecord for anything that `encode` would not write."""
        codec = self._readers.get(value[:5])
        if codec is None:
            raise BadRecord(_frame_error(value))
        return codec.decode(value, 5)


def _frame_error(value: bytes) -> str:
    """Why a value has no frame that we know."""
    if not value:
        return "EMPTY_VALUE"
    if value[0]:
        return "BAD_MAGIC"
    return "UNKNOWN_SCHEMA" if len(value) >= 5 else "TRUNCATED"
