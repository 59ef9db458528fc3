"""Codecs compiled from Avro schemas, strict, with the bounds built in.

What a codec accepts is exactly what its own encoder (and fastavro's) writes: shortest integers, valid indexes, valid UTF-8,
arrays and maps in one block, nothing left over, within the bounds. So decode followed by encode gives the same bytes, and
everything else is a `BadRecord`. Logical types are not applied: times are integers, ms.

Where `avro_native` is compiled, it does the work. Everywhere else, and as what it is tested against, Python source is made once per schema.
The source is straight code: the position `i` moves over the bytes `b`; `t` is `b` as Latin-1 text, of which strings are cut.
Records inside records are inlined, recursive ones become functions. Three other ways were measured on a payment and were slower: a
regular expression per schema, slicing and decoding each string by itself, and a loop for every integer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from transforms import avro_runtime
from transforms.avro_schema import MAX_DEPTH, Array, Enum, Fixed, Map, Primitive, Record, Type, Union, parse_schema

try:
    from transforms.avro_native import Coder
except ImportError:  # not compiled here
    Coder = None  # the other implementation is below

MAX_BYTES = 1 << 20  # of a message
MAX_ITEMS = 10_000  # of all arrays and maps of a message


class Codec:
    """encode(record) → Avro bytes, or TypeError, ValueError, KeyError or AttributeError; decode(data, start=0) → record, or BadRecord.

    encode_behind(head, record) → head + encode(record). coder is what does the work in C, or None.
    """

    __slots__ = ("coder", "decode", "encode", "encode_behind", "schema")

    def __init__(
        self,
        schema: Any,
        encode: Callable[[Any], bytes],
        decode: Callable[..., Any],
        encode_behind: Callable[[bytes, Any], bytes],
        coder: Any = None,
    ) -> None:
        self.schema, self.encode, self.decode, self.encode_behind = schema, encode, decode, encode_behind
        self.coder = coder


def compile_codec(
    schema: Any, record_types: Mapping[str, type], max_bytes: int = MAX_BYTES, max_items: int = MAX_ITEMS
) -> Codec:
    """A codec for `schema` whose records are built as `record_types[full name](*fields)`.

    Types that are tuples are written by the order of their fields, others by attribute. ValueError for a schema that is none, or that has a
    union whose branches cannot be told apart by the Python type; KeyError for a record without type.
    """
    top = parse_schema(schema)
    if Coder is not None:
        coder = Coder(top, record_types, max_bytes, max_items)
        return Codec(schema, coder.encode, coder.decode, coder.encode_behind, coder)
    encode = _Encoder(record_types, max_items).function(top, max_bytes)
    decode = _Decoder(record_types, max_items).function(top, max_bytes)
    return Codec(schema, encode, decode, lambda head, record: head + encode(record))


def compile_projection(
    schema: Any, fields: Sequence[str], max_bytes: int = MAX_BYTES, max_items: int = MAX_ITEMS
) -> Callable[[bytes], tuple[Any, ...]]:
    """A function from a value (Avro without frame) to the named top-level fields, in the order asked.

    It is as strict as `decode`: the whole value is checked. Records inside are plain tuples. ValueError for a schema that is
    no record or has no such field.
    """
    top = parse_schema(schema)
    if not isinstance(top, Record):
        raise ValueError("a projection needs the schema of a record")
    for name in fields:
        if name not in top.fields:
            raise ValueError(f"{top.name} has no field {name}")
    if Coder is not None:
        numbers = [list(top.fields).index(name) for name in fields]
        project: Callable[[bytes], tuple[Any, ...]] = Coder(top, None, max_bytes, max_items, numbers).project
        return project
    return _Decoder(None, max_items).projection(top, fields, max_bytes)


def compile_reader(
    schema: Any, record_types: Mapping[str, type], max_items: int = MAX_ITEMS
) -> Callable[[bytes, int], list[Any]]:
    """A function (data, count) → the values that stand one after another in `data` and fill it, or BadRecord.

    The size of `data` has no bound; items and depth are bounded in each value.
    """
    top = parse_schema(schema)
    if Coder is not None:
        read: Callable[[bytes, int], list[Any]] = Coder(top, record_types, 0, max_items).read
        return read
    return _Decoder(record_types, max_items).reader(top)


class _Writer:
    """Source of a Python module, line by line, and the names that it uses."""

    def __init__(self, types: Mapping[str, type] | None, max_items: int) -> None:
        self.types, self.max_items = types, max_items
        self.names = avro_runtime.names()
        self._lines: list[str] = []
        self._indent = ""
        self._count = 0
        self._waiting: dict[str, Record] = {}  # recursive records, by the name of their function

    def line(self, text: str) -> None:
        self._lines.append(self._indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(head)
        self._indent += "    "
        yield
        self._indent = self._indent[:-4]

    def fresh(self) -> str:
        """The name of a new variable."""
        self._count += 1
        return f"v{self._count}"

    def bound(self, value: Any) -> str:
        """A name for `value`."""
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name

    def type_of(self, record: Record) -> type | None:
        """The type that values of the record are built as; None where plain tuples are."""
        if self.types is None:
            return None
        if record.name not in self.types:
            raise KeyError(f"no type is given for the record {record.name}")
        return self.types[record.name]

    def function_of(self, record: Record) -> str:
        """The name of the function for a recursive record."""
        name = "record_" + record.name.replace(".", "_")
        self._waiting[name] = record
        return name

    def write_functions(self, write: Callable[[str, Record], None]) -> None:
        """Has `write` write the functions that are called, until none is missing."""
        done: set[str] = set()
        while missing := [name for name in self._waiting if name not in done]:
            for name in missing:
                done.add(name)
                write(name, self._waiting[name])

    def compiled(self, what: str) -> Any:
        """The function `what` of the module."""
        exec(compile("\n".join(self._lines), f"<avro {what}>", "exec"), self.names)
        return self.names[what]


class _Encoder(_Writer):
    def function(self, top: Type, max_bytes: int) -> Callable[[Any], bytes]:
        with self.block("def encode(r):"):
            self.line(f"depth = 0; left = {self.max_items}")
            self.line(f"data = {_joined(self.parts(top, 'r'))}")
            self.line(f"if len(data) > {max_bytes}: raise ValueError('message too large')")
            self.line("return data")
        self.write_functions(self._record_function)
        encode: Callable[[Any], bytes] = self.compiled("encode")
        return encode

    def _record_function(self, name: str, record: Record) -> None:
        with self.block(f"def {name}(r, left, depth):"):
            self.line(f"if depth > {MAX_DEPTH}: raise ValueError('record too deep')")
            self.line(f"return {_joined(self._fields(record, 'r'))}, left")

    def parts(self, of: Type, v: str) -> list[str]:
        """Writes statements that prepare the encoding of variable `v`; gives the expressions that make it, one after another."""
        if isinstance(of, Primitive):
            return [_ENCODE[of.name].format(v=v)]
        if isinstance(of, Enum):
            return [f"{self.bound({symbol: avro_runtime.enc_long(n) for n, symbol in enumerate(of.symbols)})}[{v}]"]
        if isinstance(of, Fixed):
            return [f"enc_fixed({v}, {of.size})"]
        if isinstance(of, Union):
            return [self._union(of, v)]
        if isinstance(of, Record) and not of.recursive:
            return self._fields(of, v)
        r = self.fresh()
        if isinstance(of, Record):
            self.line(f"{r}, left = {self.function_of(of)}({v}, left, depth + 1)")
            return [r]
        with self.block(f"if {v}:"):
            self.line(f"left = count_items({v}, left); {r} = [enc_long(len({v}))]")
            self._items(of, v, r)
            self.line(f"{r}.append(b'\\0'); {r} = b''.join({r})")
        self.line(f"else: {r} = b'\\0'")
        return [r]

    def _items(self, of: Array | Map, v: str, r: str) -> None:
        key, item = self.fresh(), self.fresh()
        if isinstance(of, Array):
            with self.block(f"for {item} in {v}:"):
                self.line(f"{r}.append({_added(self.parts(of.items, item))})")
        else:
            with self.block(f"for {key}, {item} in {v}.items():"):
                parts = [_ENCODE["string"].format(v=key), *self.parts(of.values, item)]
                self.line(f"{r}.append({_added(parts)})")

    def _fields(self, record: Record, v: str) -> list[str]:
        variables = [self.fresh() for _ in record.fields]
        if issubclass(self.type_of(record) or tuple, tuple):
            self.line(f"[{', '.join(variables)}] = {v}")
        else:
            for variable, name in zip(variables, record.fields, strict=True):
                self.line(f"{variable} = {v}.{name}")
        parts: list[str] = []
        for variable, of in zip(variables, record.fields.values(), strict=True):
            parts += self.parts(of, variable)
        return parts

    def _union(self, of: Union, v: str) -> str:
        r = self.fresh()
        kinds = [self._python_type(branch) for branch in of.branches]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"two branches of a union have the same Python type: {', '.join(kinds)}")
        # Null first: it costs least to tell, and is most frequent.
        for word, n in zip(
            ["if"] + ["elif"] * len(kinds), sorted(range(len(kinds)), key=kinds.__getitem__), strict=False
        ):
            with self.block(f"{word} {v} is None:" if kinds[n] == "None" else f"{word} {v}.__class__ is {kinds[n]}:"):
                parts = [] if kinds[n] == "None" else self.parts(of.branches[n], v)
                self.line(f"{r} = {_added([repr(bytes((2 * n,))), *parts])}")
        self.line(f"else: raise TypeError('the union takes no ' + type({v}).__name__)")
        return r

    def _python_type(self, of: Type) -> str:
        if isinstance(of, Record):
            return self.bound(self.type_of(of))
        return _PYTHON[of.name if isinstance(of, Primitive) else type(of).__name__]


_PYTHON = {
    "null": "None",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "timestamp": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "string": "str",
    "Enum": "str",
    "Fixed": "bytes",
    "Array": "tuple",
    "Map": "dict",
}

# What comes most often is written in place; functions take the rest, and what does not fit.
_ENCODE = {
    "null": "enc_null({v})",
    "boolean": "(b'\\1' if {v} is True else b'\\0' if {v} is False else enc_boolean({v}))",
    "int": "(LONGS[{v}] if {v}.__class__ is int and 0 <= {v} < SMALL else enc_int({v}))",
    "long": (
        "(LONGS[{v}] if {v}.__class__ is int and 0 <= {v} < SMALL"
        " else PAIRS[{v} << 1 & 0x3fff] + LAST[{v} >> 13] if {v}.__class__ is int and 0 <= {v} < 1 << 27"
        " else enc_long({v}))"
    ),
    "timestamp": (
        "(PAIRS[{v} << 1 & 0x3fff] + PAIRS[{v} >> 13 & 0x3fff] + LAST[{v} >> 27]"
        " if {v}.__class__ is int and 1 << 27 <= {v} < 1 << 41 else enc_long({v}))"
    ),
    "float": "enc_float({v})",
    "double": "enc_double({v})",
    "bytes": "(LONGS[len({v})] + {v} if {v}.__class__ is bytes and len({v}) < SMALL else enc_bytes({v}))",
    "string": "(KNOWN_STRING({v}) or enc_str({v}))",
}


def _added(parts: list[str]) -> str:
    return " + ".join(parts) or "b''"


def _joined(parts: list[str]) -> str:
    return f"b''.join(({', '.join(parts)},))" if len(parts) > 1 else _added(parts)


class _Decoder(_Writer):
    def function(self, top: Type, max_bytes: int) -> Callable[..., Any]:
        with self._message("def decode(b, i=0):", max_bytes):
            self.value(top, "value")
        self._finish("value")
        decode: Callable[..., Any] = self.compiled("decode")
        return decode

    def projection(self, top: Record, fields: Sequence[str], max_bytes: int) -> Callable[[bytes], tuple[Any, ...]]:
        with self._message("def project(b, i=0):", max_bytes):
            variables = dict(zip(top.fields, self._fields(top), strict=True))
        self._finish(_tuple([variables[name] for name in fields]))
        project: Callable[[bytes], tuple[Any, ...]] = self.compiled("project")
        return project

    def reader(self, top: Type) -> Callable[[bytes, int], list[Any]]:
        with self._message("def read(b, count):", None):
            self.line("i = 0; values = []; add = values.append")
            with self.block("for _ in range(count):"):
                self.line(f"left = {self.max_items}")
                self.value(top, "value")
                self.line("add(value)")
        self._finish("values")
        read: Callable[[bytes, int], list[Any]] = self.compiled("read")
        return read

    @contextmanager
    def _message(self, head: str, max_bytes: int | None) -> Iterator[None]:
        self.line(head)
        self._indent = "    "
        self.line("n = len(b)")
        if max_bytes is not None:
            self.line(f"if n - i > {max_bytes}: raise BadRecord('TOO_LARGE')")
        self.line(f"t = b.decode('latin-1'); depth = 0; left = {self.max_items}")
        with self.block("try:"):
            yield
        self.line("except IndexError: raise BadRecord('TRUNCATED') from None")
        self.line("except UnicodeDecodeError: raise BadRecord('BAD_UTF8') from None")
        # A string or fixed that ends behind the data was cut short on the way; it is noticed here, if not by what follows it.
        self.line("if i != n: raise BadRecord('TRAILING_BYTES' if i < n else 'TRUNCATED')")

    def _finish(self, result: str) -> None:
        self.line(f"return {result}")
        self._indent = ""
        self.write_functions(self._record_function)

    def _record_function(self, name: str, record: Record) -> None:
        with self.block(f"def {name}(b, t, i, n, left, depth):"):
            self.line(f"if depth > {MAX_DEPTH}: raise BadRecord('TOO_DEEP')")
            self.line(f"return {self._built(record, self._fields(record))}, i, left")

    def _fields(self, record: Record) -> list[str]:
        variables = [self.fresh() for _ in record.fields]
        for variable, of in zip(variables, record.fields.values(), strict=True):
            self.value(of, variable)
        return variables

    def _built(self, record: Record, variables: list[str]) -> str:
        of = self.type_of(record)
        if of is None:
            return _tuple(variables)
        if issubclass(of, tuple):
            return f"new({self.bound(of)}, {_tuple(variables)})"
        return f"{self.bound(of)}({', '.join(variables)})"

    def value(self, of: Type, v: str) -> None:
        """Writes statements that leave the value at `i` in variable `v`, and `i` behind it."""
        if isinstance(of, Primitive):
            for text in _DECODE[of.name].format(v=v).splitlines():
                self.line(text)
        elif isinstance(of, Enum):
            self._enum(of, v)
        elif isinstance(of, Fixed):
            self.line(f"{v} = b[i:i+{of.size}]; i += {of.size}")
        elif isinstance(of, Union):
            self._union(of, v)
        elif isinstance(of, Array | Map):
            self._items(of, v)
        elif of.recursive:
            self.line(f"{v}, i, left = {self.function_of(of)}(b, t, i, n, left, depth + 1)")
        else:
            self.line(f"{v} = {self._built(of, self._fields(of))}")

    def _enum(self, of: Enum, v: str) -> None:
        if len(of.symbols) <= 64:
            # By the byte itself.
            symbols = [of.symbols[x >> 1] if not x & 1 and x >> 1 < len(of.symbols) else None for x in range(256)]
            self.line(f"{v} = {self.bound(symbols)}[b[i]]; i += 1")
        else:
            self.line(f"{v}, i = dec_long(b, i); {v} = {self.bound(dict(enumerate(of.symbols)))}.get({v})")
        self.line(f"if {v} is None: raise BadRecord('BAD_INDEX')")

    def _union(self, of: Union, v: str) -> None:
        self.line("x = b[i]; i += 1")
        for n, branch in enumerate(of.branches):
            with self.block(f"{'elif' if n else 'if'} x == {2 * n}:"):
                self.value(branch, v)
        self.line("else: raise BadRecord('BAD_INDEX')")

    def _items(self, of: Array | Map, v: str) -> None:
        count, item, key = self.fresh(), self.fresh(), self.fresh()
        empty = "()" if isinstance(of, Array) else "{}"
        self.line(f"if not b[i]: {v} = {empty}; i += 1")
        with self.block("else:"):
            self.line(f"{count}, i = dec_count(b, i, left); left -= {count}")
            self.line(f"{v} = []" if isinstance(of, Array) else f"{v} = {{}}")
            with self.block(f"for _ in range({count}):"):
                if isinstance(of, Array):
                    self.value(of.items, item)
                    self.line(f"{v}.append({item})")
                else:
                    self.value(Primitive("string"), key)
                    self.line(f"if {key} in {v}: raise BadRecord('DUPLICATE_KEY')")
                    self.value(of.values, item)
                    self.line(f"{v}[{key}] = {item}")
            self.line("i = dec_end(b, i)" + (f"; {v} = tuple({v})" if isinstance(of, Array) else ""))


def _tuple(variables: list[str]) -> str:
    return f"({''.join(f'{variable}, ' for variable in variables)})"


_DECODE = {
    "null": "{v} = None",
    "boolean": "x = b[i]; i += 1\nif x > 1: raise BadRecord('BAD_BOOLEAN')\n{v} = x == 1",
    "int": """\
x = b[i]
if x < 128: {v} = INTEGERS[x]; i += 1
else: {v}, i = dec_long(b, i, 32)""",
    # Up to three bytes are read in place: amounts and offsets.
    "long": """\
x = b[i]
if x < 128: {v} = INTEGERS[x]; i += 1
else:
    y = b[i + 1]
    if 0 < y < 128: x += (y << 7) - 128; {v} = (x >> 1) ^ -(x & 1); i += 2
    elif y and 0 < (z := b[i + 2]) < 128: x += (y << 7) + (z << 14) - 16512; {v} = (x >> 1) ^ -(x & 1); i += 3
    else: {v}, i = dec_long(b, i)""",
    # Times of our days are three pairs of bytes; anything else is read the long way.
    "timestamp": """\
if i + 6 <= n:
    x, y, z = THREE_PAIRS(b, i)
    {v} = TIMES_LOW[x] + TIMES_MIDDLE[y] + TIMES_HIGH[z]
    if {v} < 0: {v}, i = dec_long(b, i)
    else: i += 6
else: {v}, i = dec_long(b, i)""",
    "float": "{v} = dec_float(b, i, n); i += 4",
    "double": "{v} = dec_double(b, i, n); i += 8",
    "bytes": """\
x = STEPS[b[i]]
if x: {v} = b[i+1:i+x]; i += x
else: i, j = dec_length(b, i, n); {v} = b[i:j]; i = j""",
    "string": """\
x = STEPS[b[i]]
if x: {v} = t[i+1:i+x]; i += x
else: i, j = dec_length(b, i, n); {v} = t[i:j]; i = j
if not {v}.isascii(): {v} = dec_text({v}, i, n)""",
}
