"""The registry: schema ids, and events as Confluent-framed values (a zero byte, the id in four bytes, Avro)."""

from functools import cache
from typing import Any

import schemas
from schemas import payments, rails
from transforms.avro import Codec, compile_codec
from transforms.errors import BadRecord


class Registry:
    def __init__(self) -> None:
        types = {**rails.RECORDS, **payments.RECORDS}
        self._writers: dict[type, tuple[bytes, Any]] = {}
        self._readers: dict[bytes, Codec] = {}
        for name, versions in schemas.schema_ids().items():
            codec = compile_codec(schemas.load_schema(name), types)
            frame = b"\0" + int(versions[-1]["id"]).to_bytes(4, "big")
            self._writers[types[name]] = frame, codec.encode
            self._readers[frame] = codec

    @classmethod
    @cache
    def load(cls, *_: Any) -> "Registry":
        return cls()

    def __reduce__(self) -> Any:
        return Registry.load, ()

    def frame(self, kind: type) -> bytes:
        return self._writers[kind][0]

    def encode(self, event: Any) -> bytes:
        frame, encode = self._writers[type(event)]
        return frame + encode(event)

    def decode(self, value: bytes) -> Any:
        codec = self._readers.get(value[:5])
        if codec is None:
            raise BadRecord("EMPTY_VALUE" if not value else "BAD_MAGIC" if value[0] else "UNKNOWN_SCHEMA")
        return codec.decode(value, 5)
