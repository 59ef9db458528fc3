"""Avro schemas, one file per named type in a folder per domain, and the typed records generated from them.

The generated records are in `schemas.rails`, `schemas.payments` and `schemas.auctions`; `python -m schemas.generate` writes them.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class UnknownSchema(KeyError):
    """No file of that full name."""


@cache
def read_schema(name: str) -> dict[str, Any]:
    """The file of one named type (`payments.Money`) as it is: it refers to others by full name. Not to be changed."""
    domain, _, short = name.rpartition(".")
    path = FOLDER / domain / f"{short}.avsc"
    try:
        schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnknownSchema(name) from None
    return schema


def load_schema(name: str) -> dict[str, Any]:
    """A named type with all types that it refers to, each inlined where it first occurs: what Avro tools understand."""
    inlined = inline(name, set())
    assert isinstance(inlined, dict)
    return inlined


def inline(schema: Any, seen: set[str]) -> Any:
    """`schema` with the types of our files inlined; names in `seen` are already defined."""
    if isinstance(schema, str):
        if schema in PRIMITIVES or schema in seen:
            return schema
        return inline(read_schema(schema), seen)
    if isinstance(schema, list):
        return [inline(branch, seen) for branch in schema]
    if "name" in schema:
        seen.add(f"{schema['namespace']}.{schema['name']}" if "namespace" in schema else schema["name"])
    if schema["type"] == "record":
        return {**schema, "fields": [{**field, "type": inline(field["type"], seen)} for field in schema["fields"]]}
    if schema["type"] == "array":
        return {**schema, "items": inline(schema["items"], seen)}
    if schema["type"] == "map":
        return {**schema, "values": inline(schema["values"], seen)}
    return schema


def schema_ids() -> dict[str, list[dict[str, Any]]]:
    """ids.json: full name → its writer schemas, oldest first, each with its id and file; an id is never used again."""
    ids: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "ids.json").read_text(encoding="utf-8"))
    return ids
