"""Schemas for container files: one self-contained schema out of the files of `schemas`, where each type has its own."""

from functools import cache
from typing import Any

from schemas import load_schema


@cache
def container_schema(full_name: str) -> dict[str, Any]:
    """The schema of `full_name` with every type that it refers to written out at its first use.

    Docs are left out: the bytes of a file must not change with a comment. KeyError when there is no such schema. The result is shared:
    not to be changed.
    """
    schema = _without_docs(load_schema(full_name))
    assert isinstance(schema, dict)
    return schema


def _without_docs(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_docs(part) for part in schema]
    if isinstance(schema, dict):
        return {name: _without_docs(part) for name, part in schema.items() if name != "doc"}
    return schema
