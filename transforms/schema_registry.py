"""Schema ids from a schema registry of Confluent's kind, by URL, in place of the committed ids.json.

The launcher asks once; workers get the ids as plain data, so that a job writes the same bytes wherever and however often it runs. Needs
the extra `registry`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import schemas
from transforms.avro import Codec
from transforms.errors import InputError, one_line
from transforms.registry import Registry
from transforms.secret_references import check_reference, resolve

_LOCAL = ("127.0.0.1", "::1", "localhost")
_MOST = (1 << 32) - 1  # ids have four bytes in a frame


class SchemaRegistryError(InputError):
    """A registry that is not there, refuses us, or does not have a schema; one line with its address, never with the password."""


@dataclass(frozen=True)
class SchemaRegistrySettings:
    """Where a registry is. https, unless it is on this machine. user with password, a reference (`secret_references`), or neither.

    ca: file with the certificates that vouch for it, where the usual ones do not. timeout_s: for each question.
    """

    url: str
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SchemaRegistryError("the schema registry must be https://HOST:PORT")
        if parts.username or parts.password:
            raise SchemaRegistryError(f"{parts.hostname}: the address holds a user or password: give them apart")
        if parts.scheme == "http" and parts.hostname not in _LOCAL:
            raise SchemaRegistryError(f"{one_line(self.url)}: is on another machine, so it must be https")
        if (self.user is None) != (self.password is None):
            raise SchemaRegistryError(f"{one_line(self.url)}: user and password go together")
        if self.password is not None:
            check_reference("password", self.password)
        if not 0 < self.timeout_s <= 300:
            raise SchemaRegistryError(f"timeout_s must be above 0 and at most 300, got {self.timeout_s!r}")

    def client(self) -> Any:
        """Confluent's client, with the password resolved."""
        from confluent_kafka.schema_registry import SchemaRegistryClient

        conf: dict[str, Any] = {"url": self.url, "timeout": self.timeout_s, "max.retries": 1, "retries.wait.ms": 200}
        if self.password is not None:
            conf["basic.auth.user.info"] = f"{self.user}:{resolve('password', self.password)}"
        if self.ca is not None:
            if not Path(self.ca).is_file():
                raise SchemaRegistryError(f"{one_line(self.ca)}: no such file")
            conf["ssl.ca.location"] = self.ca
        return SchemaRegistryClient(conf)


class PinnedRegistry(Registry):
    """A registry whose ids are given: (full name of a type, id) for every type that has one in ids.json."""

    def __init__(self, domains: tuple[str, ...], ids: tuple[tuple[str, int], ...]) -> None:
        super().__init__(*domains)
        self.ids = ids
        given = dict(ids)
        if len(set(given.values())) < len(ids):
            raise SchemaRegistryError("two types have one schema id")
        codecs = {kind: self.codec(kind) for kind in self.kinds}
        self._writers, self._readers = {}, {}
        for kind, codec in codecs.items():
            name = _name(codec)
            number = given.get(name)
            if number is None or not 0 < number <= _MOST:
                raise SchemaRegistryError(f"{name}: has no schema id")
            self._add(kind, number, codec)

    @staticmethod
    @cache
    def pinned(domains: tuple[str, ...], ids: tuple[tuple[str, int], ...]) -> "PinnedRegistry":
        """The registry of these domains and ids, one per process."""
        return PinnedRegistry(domains, ids)

    def __reduce__(self) -> Any:
        return PinnedRegistry.pinned, (self.domains, self.ids)


def registry_at(settings: SchemaRegistrySettings, *domains: str, register: bool = False) -> Registry:
    """The registry of these domains with the ids that the schema registry has for their schemas.

    The subject of a type is its full name (RecordNameStrategy). register: registers what is missing, which a deployment does once; else
    a schema that is not there as it is here is a SchemaRegistryError, naming all that are missing.
    """
    from confluent_kafka.schema_registry import Schema
    from confluent_kafka.schema_registry.error import SchemaRegistryError as Refused

    own = Registry.of(*domains)
    client = settings.client()
    ids, missing = [], []
    for name in sorted(_name(own.codec(kind)) for kind in own.kinds):
        schema = Schema(json.dumps(schemas.load_schema(name)), "AVRO")
        try:
            if register:
                ids.append((name, client.register_schema(name, schema)))
            else:
                ids.append((name, client.lookup_schema(name, schema).schema_id))
        except Refused as error:
            if error.error_code not in (40401, 40403):  # no such subject, no such schema
                raise SchemaRegistryError(
                    f"{settings.url}: {name}: {error.http_status_code} {one_line(str(error.error_message))}"
                ) from None
            missing.append(name)
        except Exception as error:  # whatever its HTTP library raises when nobody answers
            raise SchemaRegistryError(f"{settings.url}: {one_line(str(error) or type(error).__name__)}") from None
    if missing:
        raise SchemaRegistryError(f"{settings.url}: not registered as they are here: {', '.join(missing)}")
    return PinnedRegistry.pinned(own.domains, tuple(ids))


def known_ids(registry: Registry) -> Mapping[str, int]:
    """The id of each type of a registry, by full name."""
    return {_name(registry.codec(kind)): int.from_bytes(registry.frame(kind)[1:], "big") for kind in registry.kinds}


def _name(codec: Codec) -> str:
    return f"{codec.schema['namespace']}.{codec.schema['name']}"
