"""Schemas for container files: one self-contained schema out of `schemas/<domain>/<Name>.avsc`, where each type has a
file of its own.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"


@cache
def container_schema(full_name: str) -> dict[str, Any]:
    """The schema of `full_name` with every type that it refers to written out at its first use.

    Docs are left out: the bytes of a file must not change with a comment. KeyError when there is no such schema.
    """
    schema = _expand(full_name, set())
    assert isinstance(schema, dict)
    return schema


def _expand(schema: Any, seen: set[str]) -> Any:
    if isinstance(schema, list):
        return [_expand(branch, seen) for branch in schema]
    if isinstance(schema, dict):
        plain = {name: value for name, value in schema.items() if name != "doc"}
        if "fields" in plain:
            plain["fields"] = [_expand(field, seen) for field in plain["fields"]]
        for part in ("type", "items", "values"):
            if part in plain:
                plain[part] = _expand(plain[part], seen)
        return plain
    if not isinstance(schema, str) or "." not in schema or schema in seen:
        return schema
    seen.add(schema)
    path = SCHEMAS / (schema.replace(".", "/") + ".avsc")
    if not path.is_file():
        raise KeyError(f"there is no schema {schema}")
    return _expand(json.loads(path.read_text(encoding="utf-8")), seen)
