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


def _referred(schema: Any, domain: str) -> list[str]:
    """Types of the same domain that stand in `schema`."""
    if isinstance(schema, str):
        return [schema] if schema.startswith(domain + ".") else []
    if isinstance(schema, list):
        return [name for branch in schema for name in _referred(branch, domain)]
    if schema["type"] == "record":
        return [name for field in schema["fields"] for name in _referred(field["type"], domain)]
    return [name for part in ("items", "values") if part in schema for name in _referred(schema[part], domain)]


def _in_order(names: list[str], domain: str) -> list[str]:
    """Each type behind those that it refers to."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name not in ordered:
            for other in _referred(read_schema(name), domain):
                if other != name:
                    visit(other)
            ordered.append(name)

    for name in names:
        visit(name)
    return ordered


def _default(field: dict[str, Any]) -> str:
    return f" = {field['default']!r}" if "default" in field else ""


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


def generate(domain: str) -> str:
    """Source of the module `schemas.<domain>`."""
    enums, records = [], []
    for name in _in_order(_names(domain), domain):
        schema = read_schema(name)
        if schema["type"] == "enum":
            symbols = ", ".join(f'"{symbol}"' for symbol in schema["symbols"])
            enums += [f"{schema['name']} = Literal[{symbols}]", f'"""{schema["doc"]}"""', ""]
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
            f"    {f['name']}: {_python_type(f['type'], domain)}{_default(f)}{_TUPLE_METHODS.get(f['name'], '')}"
            for f in _defaults_last(schema)
        ]
        records.append("\n".join([f"class {schema['name']}(NamedTuple):", *body]))
    names = [name for name in _in_order(_names(domain), domain) if read_schema(name)["type"] == "record"]
    table = "\n".join(f'    "{name}": {name.rpartition(".")[2]},' for name in names)
    head = f'"""Typed records of the domain `{domain}`. Generated from the .avsc files by `schemas.generate`."""\n\n'
    imports = "from typing import Any, Literal, NamedTuple\n" if enums else "from typing import Any, NamedTuple\n"
    enum_text = ("\n" + "\n".join(enums)) if enums else ""
    body_text = "\n\n\n".join(records)
    return f"{head}{imports}{enum_text}\n\n{body_text}\n\n\nRECORDS: dict[str, type[Any]] = {{\n{table}\n}}\n"


def _defaults_last(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Python wants fields with defaults last, Avro does not: a default counts only where none without follows."""
    fields: list[dict[str, Any]] = []
    allowed = True
    for field in reversed(schema["fields"]):
        allowed = allowed and "default" in field
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
