"""Writes the typed records from the schemas: `python -m schemas.generate`; `--check` only says if they are stale."""

import sys
from pathlib import Path
from typing import Any

from schemas import FOLDER, read_schema

_PYTHON = {
    "null": "None",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "string": "str",
}

# A NamedTuple may hide these methods of tuple, which nobody calls on a record; mypy wants to be told.
_TUPLE_METHODS = {"index": "  # type: ignore[assignment]", "count": "  # type: ignore[assignment]"}


def domains() -> list[str]:
    return sorted(path.name for path in FOLDER.iterdir() if path.is_dir() and any(path.glob("*.avsc")))


def _names(domain: str) -> list[str]:
    """Full names of the domain's types; a file with a number (`Name.1.avsc`) is an older writer's and has no class."""
    return [f"{domain}.{path.stem}" for path in sorted((FOLDER / domain).glob("*.avsc")) if "." not in path.stem]


def _python_type(schema: Any, domain: str) -> str:
    if isinstance(schema, str):
        if schema in _PYTHON:
            return _PYTHON[schema]
        owner, _, short = schema.rpartition(".")
        return short if owner == domain else schema
    if isinstance(schema, list):
        branches = [branch for branch in schema if branch != "null"]
        joined = " | ".join(_python_type(branch, domain) for branch in branches)
        return joined if len(branches) == len(schema) else f"{joined} | None"
    kind = schema["type"]
    if kind == "array":
        return f"tuple[{_python_type(schema['items'], domain)}, ...]"
    if kind == "map":
        return f"dict[str, {_python_type(schema['values'], domain)}]"
    return _python_type(kind, domain)


def _referred(schema: Any) -> list[str]:
    """Full names of the types that `schema` refers to."""
    if isinstance(schema, str):
        return [] if schema in _PYTHON else [schema]
    if isinstance(schema, list):
        return [name for branch in schema for name in _referred(branch)]
    if schema["type"] == "record":
        return [name for field in schema["fields"] for name in _referred(field["type"])]
    if schema["type"] == "enum":
        return []
    return _referred(schema.get("items") or schema.get("values") or schema["type"])


def _in_order(names: list[str], domain: str) -> list[str]:
    """Each type behind those that it refers to."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name not in ordered:
            for other in _referred(read_schema(name)):
                if other != name and other.startswith(f"{domain}."):
                    visit(other)
            ordered.append(name)

    for name in names:
        visit(name)
    return ordered


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return f" = {tuple(value) if isinstance(value, list) else value!r}"


def _annotation(schema: Any, name: str, domain: str) -> str:
    """The Python type of a field of the record `name`, which has no name yet where its own fields are written."""
    text = _python_type(schema, domain)
    return f'"{text}"' if name in _referred(schema) else text


def _docstring(text: str, indent: str) -> list[str]:
    """The text as a docstring, wrapped to 118 columns."""
    words, lines = text.split(), []
    line = indent + '"""'
    for word in words:
        if len(line) + len(word) + 1 > 115:
            lines.append(line.rstrip())
            line = indent
        line += word + " "
    lines.append(line.rstrip())
    return lines


def _literal(name: str, symbols: list[str]) -> list[str]:
    """The type of an enum, on one line if it fits into 120 columns."""
    quoted = [f'"{symbol}"' for symbol in symbols]
    line = f"{name} = Literal[{', '.join(quoted)}]"
    return [line] if len(line) <= 120 else [f"{name} = Literal[", *(f"    {symbol}," for symbol in quoted), "]"]


def generate(domain: str) -> str:
    """Source of the module `schemas.<domain>`."""
    enums, records = [], []
    ordered = _in_order(_names(domain), domain)
    others = {other.rpartition(".")[0] for name in ordered for other in _referred(read_schema(name))} - {domain}
    for name in ordered:
        schema = read_schema(name)
        if schema["type"] == "enum":
            enums += [*_literal(schema["name"], schema["symbols"]), f'"""{schema["doc"]}"""', ""]
            continue
        body = _docstring(schema["doc"], "    ")
        body.append("")
        for field in schema["fields"]:
            text = _docstring(f"{field['name']}: {field['doc']}", "    ")
            text[0] = text[0].replace('"""', "", 1)
            body += text
        body[-1] += '\n    """'
        body.append("")
        body += [
            f"    {f['name']}: {_annotation(f['type'], name, domain)}{_default(f)}{_TUPLE_METHODS.get(f['name'], '')}"
            for f in _defaults_last(schema)
        ]
        records.append("\n".join([f"class {schema['name']}(NamedTuple):", *body]))
    names = [name for name in ordered if read_schema(name)["type"] == "record"]
    table = "\n".join(f'    "{name}": {name.rpartition(".")[2]},' for name in names)
    head = f'"""Typed records of the domain `{domain}`. Generated from the .avsc files by `schemas.generate`."""\n\n'
    imports = "from typing import Any, Literal, NamedTuple\n" if enums else "from typing import Any, NamedTuple\n"
    if others:
        imports += f"\nfrom schemas import {', '.join(sorted(others))}\n"
    enum_text = ("\n" + "\n".join(enums)) if enums else ""
    body_text = "\n\n\n".join(records)
    return f"{head}{imports}{enum_text}\n\n{body_text}\n\n\nRECORDS: dict[str, type[Any]] = {{\n{table}\n}}\n"


def _defaults_last(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Python wants fields with defaults last, Avro does not: a default counts only where none without follows. A map's is not shared."""
    fields: list[dict[str, Any]] = []
    allowed = True
    for field in reversed(schema["fields"]):
        allowed = allowed and "default" in field and not isinstance(field["default"], dict)
        fields.append(field if allowed else {k: v for k, v in field.items() if k != "default"})
    return fields[::-1]


def main(argv: list[str]) -> int:
    stale = []
    for domain in domains():
        path = Path(FOLDER / domain / "__init__.py")
        source = generate(domain)
        if not path.exists() or path.read_text(encoding="utf-8") != source:
            stale.append(path)
            if "--check" not in argv:
                path.write_text(source, encoding="utf-8")
    if "--check" in argv and stale:
        names = ", ".join(path.parent.name for path in stale)
        print(f"stale: {names}; run python -m schemas.generate", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
