"""Codecs compiled from Avro schemas: Python source made once per schema, strict, with the bounds built in.

What a codec accepts is exactly what its own encoder (and fastavro's) would write: shortest integers, valid indexes, valid UTF-8, nothing left
over. So decode followed by encode gives the same bytes, and everything else is a `BadRecord`. fastavro is the reference that it is tested against.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transforms.errors import BadRecord

MAX_BYTES = 1 << 20  # of a message
MAX_ITEMS = 10_000  # of an array or map
MAX_DEPTH = 32  # of a recursive type


class Codec:
    """encode(record) → Avro bytes; decode(data, start=0) → record, or BadRecord."""

    __slots__ = ("decode", "encode", "schema")

    def __init__(self, schema: Any, encode: Callable[[Any], bytes], decode: Callable[..., Any]) -> None:
        self.schema, self.encode, self.decode = schema, encode, decode


# --- runtime of the generated code ---


def _zigzag(n: int) -> bytes:
    n = n << 1 if n >= 0 else (-n << 1) - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


LONGS = [_zigzag(n) for n in range(1 << 13)]


def _check_int(n: Any) -> None:
    if type(n) is not int:
        raise TypeError(f"expected an integer, got {type(n).__name__}")


def enc_long(n: int) -> bytes:
    """The slow way to encode a long: whatever is not in the table."""
    _check_int(n)
    if not -(1 << 63) <= n < 1 << 63:
        raise ValueError("integer out of 64 bits")
    return _zigzag(n)


def enc_int(n: int) -> bytes:
    _check_int(n)
    if not -(1 << 31) <= n < 1 << 31:
        raise ValueError("integer out of 32 bits")
    return _zigzag(n)


def enc_bytes(data: bytes) -> bytes:
    if type(data) is not bytes:
        raise TypeError(f"expected bytes, got {type(data).__name__}")
    return _zigzag(len(data)) + data


_STRINGS: dict[str, bytes] = {}


def enc_str(text: str) -> bytes:
    """Encodes a string and keeps it: ids, currencies and names come again soon, in other records of the same payment."""
    if type(text) is not str:
        raise TypeError(f"expected a string, got {type(text).__name__}")
    raw = text.encode()
    encoded = _zigzag(len(raw)) + raw
    if len(raw) <= 64:
        if len(_STRINGS) > 1 << 16:
            _STRINGS.clear()
        _STRINGS[text] = encoded
    return encoded


def dec_long(b: bytes, i: int, bits: int = 64) -> tuple[int, int]:
    """A varint of any length at `i`, and the index behind it."""
    n, shift = 0, 0
    while True:
        x = b[i]
        i += 1
        n |= (x & 0x7F) << shift
        if x < 0x80:
            break
        shift += 7
        if shift > 63:
            raise BadRecord("BAD_VARINT")
    if (x == 0 and shift) or n >> bits:
        raise BadRecord("BAD_VARINT")
    return (n >> 1) ^ -(n & 1), i


def dec_length(b: bytes, i: int, end: int) -> tuple[int, int]:
    """A length at `i`: (start, end) of what follows."""
    n, i = dec_long(b, i)
    if n < 0:
        raise BadRecord("BAD_LENGTH")
    if i + n > end:
        raise BadRecord("TRUNCATED")
    return i, i + n


def dec_count(b: bytes, i: int, left: int) -> tuple[int, int]:
    """A block count of an array or map. Blocks with sizes (negative counts) are legal Avro that no writer of ours uses."""
    n, i = dec_long(b, i)
    if n < 0:
        raise BadRecord("BAD_LENGTH")
    if n > left:
        raise BadRecord("TOO_MANY_ITEMS")
    return n, i


_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")


class _Compiler:
    def __init__(self, types: Mapping[str, type] | None, max_items: int) -> None:
        self.types, self.max_items = types, max_items
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "BadRecord": BadRecord,
            "LONGS": LONGS,
            "enc_long": enc_long,
            "enc_int": enc_int,
            "enc_bytes": enc_bytes,
            "enc_str": enc_str,
            "STR": _STRINGS.get,
            "dec_long": dec_long,
            "dec_length": dec_length,
            "dec_count": dec_count,
            "new": tuple.__new__,
            "MAX_ITEMS": max_items,
            "MAX_DEPTH": MAX_DEPTH,
            "FLOAT": _FLOAT,
            "DOUBLE": _DOUBLE,
            "from_bytes": int.from_bytes,
        }
        self.named: dict[str, Any] = {}
        self.count = 0
        self.done: set[tuple[str, str]] = set()
        self.pending: list[tuple[str, str]] = []

    def fresh(self, prefix: str = "v") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def collect(self, schema: Any, namespace: str = "") -> Any:
        """Registers named types; gives the schema with full names."""
        if isinstance(schema, str):
            return schema if schema in _KINDS or "." in schema or not namespace else f"{namespace}.{schema}"
        if isinstance(schema, list):
            return [self.collect(x, namespace) for x in schema]
        kind = schema["type"]
        if kind in ("record", "enum", "fixed"):
            namespace = schema.get("namespace", namespace)
            name = schema["name"] if "." in schema["name"] or not namespace else f"{namespace}.{schema['name']}"
            full = dict(schema)
            self.named[name] = full
            if kind == "record":
                full["fields"] = [dict(f, type=self.collect(f["type"], namespace)) for f in schema["fields"]]
            return name
        if kind == "array":
            return {"type": "array", "items": self.collect(schema["items"], namespace)}
        if kind == "map":
            return {"type": "map", "values": self.collect(schema["values"], namespace)}
        if schema.get("logicalType") == "timestamp-millis":
            return "timestamp"
        return self.collect(kind, namespace)

    # encode: returns an expression of bytes parts appended to `parts`; statements go to `out`

    def enc(self, s: Any, v: str, out: list[str], pad: str, parts: list[str]) -> None:
        if isinstance(s, list):
            r = self.fresh()
            if len(s) == 2 and "null" in s:
                null = s.index("null")
                other = s[1 - null]
                out.append(f"{pad}if {v} is None: {r} = {bytes((null * 2,))!r}")
                out.append(f"{pad}else:")
                sub: list[str] = []
                self.enc(other, v, out, pad + "    ", sub)
                out.append(f"{pad}    {r} = {bytes(((1 - null) * 2,))!r} + {' + '.join(sub)}")
            else:
                for n, branch in enumerate(s):
                    out.append(f"{pad}{'if' if n == 0 else 'elif'} {self.is_type(branch, v)}:")
                    sub = []
                    self.enc(branch, v, out, pad + "    ", sub)
                    out.append(f"{pad}    {r} = {' + '.join([repr(_zigzag(n)), *sub])}")
                out.append(f"{pad}else: raise TypeError('no branch of the union takes ' + type({v}).__name__)")
            parts.append(r)
            return
        if isinstance(s, dict):
            r, n, x = self.fresh(), self.fresh("n"), self.fresh("x")
            sub = []
            out.append(f"{pad}if {v}:")
            out.append(f"{pad}    {r} = [enc_long(len({v}))]")
            if s["type"] == "array":
                out.append(f"{pad}    for {x} in {v}:")
                self.enc(s["items"], x, out, pad + "        ", sub)
            else:
                out.append(f"{pad}    for {n}, {x} in {v}.items():")
                sub.append(f"(STR({n}) or enc_str({n}))")
                self.enc(s["values"], x, out, pad + "        ", sub)
            out.append(f"{pad}        {r}.append({' + '.join(sub)})")
            out.append(f"{pad}    {r}.append(b'\\0'); {r} = b''.join({r})")
            out.append(f"{pad}else: {r} = b'\\0'")
            parts.append(r)
            return
        if s in self.named:
            full = self.named[s]
            if full["type"] == "record":
                if self.recursive(s):
                    self.pending.append(("e", s))
                    parts.append(f"{self.fname('e', s)}({v})")
                    return
                for f in full["fields"]:
                    name = self.fresh()
                    out.append(f"{pad}{name} = {v}.{f['name']}")
                    self.enc(f["type"], name, out, pad, parts)
            elif full["type"] == "enum":
                name = f"E{len(self.names)}"
                self.names[name] = {symbol: _zigzag(n) for n, symbol in enumerate(full["symbols"])}
                parts.append(f"{name}[{v}]")
            else:
                parts.append(f"enc_fixed({v}, {full['size']})")
            return
        r = self.fresh()
        if s in ("long", "timestamp", "int"):
            slow = "enc_int" if s == "int" else "enc_long"
            if s == "timestamp":
                parts.append(f"enc_long({v})")
            else:
                parts.append(f"(LONGS[{v}] if 0 <= {v} < {len(LONGS)} and {v}.__class__ is int else {slow}({v}))")
        elif s == "string":
            parts.append(f"(STR({v}) or enc_str({v}))")
        elif s == "bytes":
            parts.append(f"enc_bytes({v})")
        elif s == "boolean":
            out.append(f"{pad}{r} = b'\\1' if {v} is True else b'\\0' if {v} is False else enc_bool({v})")
            parts.append(r)
        elif s == "float":
            parts.append(f"FLOAT.pack({v})")
        elif s == "double":
            parts.append(f"DOUBLE.pack({v})")

    def is_type(self, s: Any, v: str) -> str:
        if isinstance(s, dict):
            return f"isinstance({v}, {'(tuple, list)' if s['type'] == 'array' else 'dict'})"
        if s in self.named:
            full = self.named[s]
            if full["type"] == "record":
                assert self.types is not None
                self.names[f"T_{_safe(s)}"] = self.types[s]
                return f"type({v}) is T_{_safe(s)}"
            return f"type({v}) is {'str' if full['type'] == 'enum' else 'bytes'}"
        if s == "null":
            return f"{v} is None"
        kind = {
            "long": "int",
            "timestamp": "int",
            "int": "int",
            "string": "str",
            "boolean": "bool",
            "double": "float",
        }.get(s, s)
        return f"type({v}) is {kind}"

    # decode: statements that leave the value in `v` and move `i`

    def dec(self, s: Any, v: str, out: list[str], pad: str) -> None:
        if isinstance(s, list):
            if len(s) == 2 and "null" in s:
                null = s.index("null")
                out.append(f"{pad}x = b[i]; i += 1")
                out.append(f"{pad}if x == {null * 2}: {v} = None")
                out.append(f"{pad}elif x == {(1 - null) * 2}:")
                self.dec(s[1 - null], v, out, pad + "    ")
                out.append(f"{pad}else: raise BadRecord('BAD_INDEX')")
            else:
                k = self.fresh("k")
                out.append(f"{pad}{k}, i = dec_long(b, i)")
                for n, branch in enumerate(s):
                    out.append(f"{pad}{'if' if n == 0 else 'elif'} {k} == {n}:")
                    self.dec(branch, v, out, pad + "    ")
                out.append(f"{pad}else: raise BadRecord('BAD_INDEX')")
            return
        if isinstance(s, dict):
            n, left, x, key = self.fresh("n"), self.fresh("left"), self.fresh("x"), self.fresh("key")
            out.append(f"{pad}{v} = []" if s["type"] == "array" else f"{pad}{v} = {{}}")
            out.append(f"{pad}if b[i] == 0: i += 1")
            out.append(f"{pad}else:")
            out.append(f"{pad}    {left} = MAX_ITEMS")
            out.append(f"{pad}    while True:")
            out.append(f"{pad}        {n}, i = dec_count(b, i, {left})")
            out.append(f"{pad}        if not {n}: break")
            out.append(f"{pad}        {left} -= {n}")
            out.append(f"{pad}        for _ in range({n}):")
            if s["type"] == "array":
                self.dec(s["items"], x, out, pad + " " * 12)
                out.append(f"{pad}            {v}.append({x})")
            else:
                self.dec("string", key, out, pad + " " * 12)
                self.dec(s["values"], x, out, pad + " " * 12)
                out.append(f"{pad}            {v}[{key}] = {x}")
            if s["type"] == "array":
                out.append(f"{pad}{v} = tuple({v})")
            return
        if s in self.named:
            full = self.named[s]
            if full["type"] == "record":
                if self.recursive(s):
                    self.pending.append(("d", s))
                    out.append(f"{pad}{v}, i = {self.fname('d', s)}(b, i, n, depth + 1)")
                    return
                fields = []
                for f in full["fields"]:
                    name = self.fresh()
                    self.dec(f["type"], name, out, pad)
                    fields.append(name)
                out.append(f"{pad}{v} = {self.construct(s, fields)}")
            elif full["type"] == "enum":
                name = f"D{len(self.names)}"
                self.names[name] = {n * 2: symbol for n, symbol in enumerate(full["symbols"])}
                out.append(f"{pad}{v} = {name}.get(b[i]); i += 1")
                out.append(f"{pad}if {v} is None: raise BadRecord('BAD_INDEX')")
            else:
                out.append(f"{pad}{v} = b[i:i+{full['size']}]; i += {full['size']}")
            return
        if s in ("long", "int"):
            out.append(f"{pad}x = b[i]")
            out.append(f"{pad}if x < 128: {v} = (x >> 1) ^ -(x & 1); i += 1")
            out.append(f"{pad}else: {v}, i = dec_long(b, i{', 32' if s == 'int' else ''})")
        elif s == "timestamp":
            # Times of our days are six bytes; anything else goes the slow way.
            out.append(f"{pad}w = from_bytes(b[i:i+6], 'little')")
            out.append(f"{pad}if w & 0x808080808080 == 0x8080808080 and w >> 40:")
            out.append(
                f"{pad}    w = w & 0x7f | w >> 1 & 0x3f80 | w >> 2 & 0x1fc000 | w >> 3 & 0xfe00000 | w >> 4 & 0x7f0000000"
                " | w >> 5 & 0x3f800000000"
            )
            out.append(f"{pad}    {v} = (w >> 1) ^ -(w & 1); i += 6")
            out.append(f"{pad}else: {v}, i = dec_long(b, i)")
        elif s in ("string", "bytes"):
            out.append(f"{pad}x = b[i]")
            out.append(f"{pad}if x < 128 and not x & 1: i += 1; j = i + (x >> 1)")
            out.append(f"{pad}else: i, j = dec_length(b, i, n)")
            out.append(f"{pad}{v} = b[i:j]{'.decode()' if s == 'string' else ''}; i = j")
        elif s == "boolean":
            out.append(f"{pad}x = b[i]; i += 1")
            out.append(f"{pad}if x > 1: raise BadRecord('BAD_BOOLEAN')")
            out.append(f"{pad}{v} = x == 1")
        elif s == "null":
            out.append(f"{pad}{v} = None")
        else:
            size = 4 if s == "float" else 8
            out.append(f"{pad}if i + {size} > n: raise BadRecord('TRUNCATED')")
            out.append(f"{pad}{v} = {s.upper()}.unpack_from(b, i)[0]; i += {size}")

    def construct(self, s: str, fields: list[str]) -> str:
        if self.types is None:
            return f"({''.join(f'{field}, ' for field in fields)})"
        cls = self.types[s]
        name = f"T_{_safe(s)}"
        self.names[name] = cls
        listed = ", ".join(fields)
        return f"new({name}, ({listed},))" if issubclass(cls, tuple) else f"{name}({listed})"

    def fname(self, what: str, s: str) -> str:
        return f"{what}_{_safe(s)}"

    def recursive(self, name: str) -> bool:
        seen: set[str] = set()

        def reach(s: Any) -> bool:
            if isinstance(s, list):
                return any(reach(x) for x in s)
            if isinstance(s, dict):
                return reach(s.get("items") or s.get("values"))
            if s == name:
                return True
            if s in self.named and s not in seen and self.named[s]["type"] == "record":
                seen.add(s)
                return any(reach(f["type"]) for f in self.named[s]["fields"])
            return False

        return any(reach(f["type"]) for f in self.named[name]["fields"])

    def functions(self) -> str:
        out: list[str] = []
        while self.pending:
            what, s = self.pending.pop()
            if (what, s) in self.done:
                continue
            self.done.add((what, s))
            full = self.named[s]
            if what == "e":
                parts: list[str] = []
                out.append(f"def {self.fname('e', s)}(r):")
                for f in full["fields"]:
                    name = self.fresh()
                    out.append(f"    {name} = r.{f['name']}")
                    self.enc(f["type"], name, out, "    ", parts)
                out.append(f"    return b''.join(({', '.join(parts)},))")
            else:
                out.append(f"def {self.fname('d', s)}(b, i, n, depth):")
                out.append("    if depth > MAX_DEPTH: raise BadRecord('TOO_DEEP')")
                fields = []
                for f in full["fields"]:
                    name = self.fresh()
                    self.dec(f["type"], name, out, "    ")
                    fields.append(name)
                out.append(f"    return {self.construct(s, fields)}, i")
        return "\n".join(out)


_KINDS = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


def _safe(name: str) -> str:
    return name.replace(".", "_")


def _enc_bool(v: Any) -> bytes:
    raise TypeError(f"expected a boolean, got {type(v).__name__}")


def _enc_fixed(v: bytes, size: int) -> bytes:
    if type(v) is not bytes or len(v) != size:
        raise ValueError(f"expected {size} bytes")
    return v


def compile_codec(
    schema: Any, record_types: Mapping[str, type], max_bytes: int = MAX_BYTES, max_items: int = MAX_ITEMS
) -> Codec:
    """A codec for `schema` whose records are built as `record_types[full name](*fields)` and read by attribute."""
    c = _Compiler(record_types, max_items)
    c.names.update(enc_bool=_enc_bool, enc_fixed=_enc_fixed)
    top = c.collect(schema)
    parts: list[str] = []
    enc: list[str] = []
    c.enc(top, "r", enc, "    ", parts)
    dec: list[str] = []
    c.dec(top, "v", dec, "        ")
    source = "\n".join(
        [
            "def encode(r):",
            *enc,
            f"    return b''.join(({', '.join(parts)},))",
            _decoder(dec, "v", max_bytes),
            c.functions(),
        ]
    )
    exec(compile(source, f"<codec {top if isinstance(top, str) else ''}>", "exec"), c.names)
    return Codec(schema, c.names["encode"], c.names["decode"])


def compile_projection(
    schema: Mapping[str, Any], fields: Sequence[str], max_bytes: int = MAX_BYTES, max_items: int = MAX_ITEMS
) -> Callable[[bytes], tuple[Any, ...]]:
    """A function from a value (Avro without frame) to the named top-level fields, in the order asked.

    It is as strict as `decode`: the whole value is checked. Records inside are plain tuples, timestamps are ms. ValueError for a schema that
    is no record or has no such field.
    """
    c = _Compiler(None, max_items)
    top = c.collect(dict(schema))
    record = c.named.get(top) if isinstance(top, str) else None
    if record is None or record["type"] != "record":
        raise ValueError("a projection needs the schema of a record")
    variables: dict[str, str] = {}
    dec: list[str] = []
    for field in record["fields"]:
        variables[field["name"]] = c.fresh()
        c.dec(field["type"], variables[field["name"]], dec, "        ")
    for name in fields:
        if name not in variables:
            raise ValueError(f"{top} has no field {name}")
    source = _decoder(dec, f"({''.join(f'{variables[name]}, ' for name in fields)})", max_bytes) + c.functions()
    exec(compile(source, f"<projection {top}>", "exec"), c.names)
    project: Callable[[bytes], tuple[Any, ...]] = c.names["decode"]
    return project


def _decoder(statements: list[str], result: str, max_bytes: int) -> str:
    return "\n".join(
        [
            "def decode(b, start=0):",
            "    n = len(b); i = start; depth = 0",
            f"    if n - start > {max_bytes}: raise BadRecord('TOO_LARGE')",
            "    try:",
            *statements,
            "    except IndexError: raise BadRecord('TRUNCATED') from None",
            "    except UnicodeDecodeError: raise BadRecord('BAD_UTF8') from None",
            "    if i != n: raise BadRecord('TRAILING_BYTES' if i < n else 'TRUNCATED')",
            f"    return {result}",
            "",
        ]
    )
