# cython: language_level=3, boundscheck=False, wraparound=False
"""The codecs of `transforms.avro` in C: the same bytes, the same errors, five times as fast. And the loops over many records around them.

A schema becomes a tree of nodes, and two recursive functions walk it: `_write` with a value, `_read` with the bytes. `transforms.avro` takes
this module where the set-up has compiled it (`transforms/native.py`); the tests of codecs run with it and without.
"""

from array import array as _array

from cpython cimport array
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact, PyFloat_FromDouble
from cpython.long cimport PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from transforms import avro_schema
from transforms.errors import BadRecord

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    bint PyUnicode_CheckExact(object value)
    ctypedef struct PyTypeObject:
        object (*tp_alloc)(PyTypeObject *kind, Py_ssize_t items)

cdef int MAX_DEPTH = avro_schema.MAX_DEPTH


cdef enum Kind:
    NOTHING, BOOLEAN, INT, LONG, FLOAT, DOUBLE, BYTES, STRING, ENUM, FIXED, ARRAY, MAP, UNION, RECORD


cdef class Node:
    """One type of a schema."""

    cdef Kind kind
    cdef int size  # of a fixed; number of branches, fields or symbols
    cdef bint recursive
    cdef tuple nodes  # items, values, branches, fields
    cdef tuple names  # of the fields, or the symbols
    cdef dict numbers  # symbol → its number
    cdef tuple kinds  # of a union: the Python type of each branch
    cdef object built  # type of the values of a record
    cdef bint by_order  # those values are tuples


_PRIMITIVES = {
    "null": NOTHING,
    "boolean": BOOLEAN,
    "int": INT,
    "long": LONG,
    "timestamp": LONG,
    "float": FLOAT,
    "double": DOUBLE,
    "bytes": BYTES,
    "string": STRING,
}
_PYTHON = {NOTHING: type(None), BOOLEAN: bool, INT: int, LONG: int, FLOAT: float, DOUBLE: float, BYTES: bytes, STRING: str,
           ENUM: str, FIXED: bytes, ARRAY: tuple, MAP: dict}


cdef Node make_node(object of, object types, dict records):
    """The node of a type of `avro_schema`; `records` holds those of the records that are made already or are being made."""
    if isinstance(of, avro_schema.Record) and of in records:
        return records[of]
    cdef Node node = Node.__new__(Node)
    node.nodes = node.names = ()
    if isinstance(of, avro_schema.Primitive):
        node.kind = _PRIMITIVES[of.name]
    elif isinstance(of, avro_schema.Enum):
        node.kind, node.names, node.size = ENUM, of.symbols, len(of.symbols)
        node.numbers = {symbol: number for number, symbol in enumerate(of.symbols)}
    elif isinstance(of, avro_schema.Fixed):
        node.kind, node.size = FIXED, of.size
    elif isinstance(of, avro_schema.Array):
        node.kind, node.nodes = ARRAY, (make_node(of.items, types, records),)
    elif isinstance(of, avro_schema.Map):
        node.kind, node.nodes = MAP, (make_node(of.values, types, records),)
    elif isinstance(of, avro_schema.Union):
        node.kind, node.size = UNION, len(of.branches)
        node.nodes = tuple([make_node(branch, types, records) for branch in of.branches])
        node.kinds = tuple([python_type(branch) for branch in node.nodes])
        if types is not None and len(set(node.kinds)) < len(node.kinds):
            names = ", ".join([kind.__name__ for kind in node.kinds])
            raise ValueError(f"two branches of a union have the same Python type: {names}")
    else:
        if types is not None and of.name not in types:
            raise KeyError(f"no type is given for the record {of.name}")
        records[of] = node
        node.kind, node.size, node.recursive, node.names = RECORD, len(of.fields), of.recursive, tuple(of.fields)
        node.built = tuple if types is None else types[of.name]
        node.by_order = issubclass(node.built, tuple)
        node.nodes = tuple([make_node(part, types, records) for part in of.fields.values()])
    return node


cdef object python_type(Node node):
    return node.built if node.kind == RECORD else _PYTHON[<int>node.kind]


# --- writing ---


cdef struct Buffer:
    char *data
    Py_ssize_t size
    Py_ssize_t room
    char *heap  # what to free; NULL while `data` lies on the stack
    Py_ssize_t left  # items that the message may still have


cdef int _grow(Buffer *out, Py_ssize_t more) except -1:
    cdef Py_ssize_t room = 2 * (out.size + more)
    cdef char *heap = <char *>PyMem_Realloc(out.heap, room)
    if heap == NULL:
        raise MemoryError()
    if out.heap == NULL:
        memcpy(heap, out.data, out.size)
    out.data = out.heap = heap
    out.room = room
    return 0


cdef inline int _put(Buffer *out, const char *data, Py_ssize_t size) except -1:
    if out.room - out.size < size:
        _grow(out, size)
    memcpy(out.data + out.size, data, size)
    out.size += size
    return 0


cdef inline int _put_byte(Buffer *out, int byte) except -1:
    if out.room == out.size:
        _grow(out, 1)
    out.data[out.size] = <char>byte
    out.size += 1
    return 0


cdef inline int _put_long(Buffer *out, int64_t number) except -1:
    cdef uint64_t zigzag = (<uint64_t>number << 1) ^ <uint64_t>(number >> 63)
    if out.room - out.size < 10:
        _grow(out, 10)
    while zigzag >= 0x80:
        out.data[out.size] = <char>(zigzag & 0x7F | 0x80)
        out.size += 1
        zigzag >>= 7
    out.data[out.size] = <char>zigzag
    out.size += 1
    return 0


cdef inline int _put_string(Buffer *out, object text) except -1:
    cdef Py_ssize_t size = 0
    if not PyUnicode_CheckExact(text):
        raise TypeError(f"expected a string, got {type(text).__name__}")
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    _put_long(out, size)
    return _put(out, data, size)


cdef int64_t _integer(object value) except? -1:
    cdef int overflow = 0
    if not PyLong_CheckExact(value):
        raise TypeError(f"expected an integer, got {type(value).__name__}")
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        raise ValueError("integer out of 64 bits")
    return number


cdef int _write(Node node, object value, Buffer *out, int depth) except -1:
    cdef Kind kind = node.kind
    cdef int64_t number
    cdef double real
    cdef float single
    cdef PyObject *found
    if kind == STRING:
        return _put_string(out, value)
    if kind == LONG:
        return _put_long(out, _integer(value))
    if kind == UNION:
        return _write_union(node, value, out, depth)
    if kind == ENUM:
        found = PyDict_GetItemWithError(node.numbers, value)
        if found == NULL:
            raise KeyError(value)
        return _put_long(out, <int64_t><object>found)
    if kind == RECORD:
        return _write_record(node, value, out, depth)
    if kind == NOTHING:
        if value is not None:
            raise TypeError(f"expected None, got {type(value).__name__}")
    elif kind == BOOLEAN:
        if value is not True and value is not False:
            raise TypeError(f"expected a boolean, got {type(value).__name__}")
        _put_byte(out, value is True)
    elif kind == INT:
        number = _integer(value)
        if not -(1 << 31) <= number < 1 << 31:
            raise ValueError("integer out of 32 bits")
        _put_long(out, number)
    elif kind == FLOAT or kind == DOUBLE:
        if not PyFloat_CheckExact(value):
            raise TypeError(f"expected a float, got {type(value).__name__}")
        real = PyFloat_AS_DOUBLE(value)
        if kind == DOUBLE:
            return _put(out, <char *>&real, 8)
        single = <float>real
        if isfinite(real) and not isfinite(single):
            raise ValueError("float out of 32 bits")
        _put(out, <char *>&single, 4)
    elif kind == BYTES:
        if not PyBytes_CheckExact(value):
            raise TypeError(f"expected bytes, got {type(value).__name__}")
        _put_long(out, PyBytes_GET_SIZE(value))
        _put(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    elif kind == FIXED:
        if not PyBytes_CheckExact(value) or PyBytes_GET_SIZE(value) != node.size:
            raise ValueError(f"expected {node.size} bytes")
        _put(out, PyBytes_AS_STRING(value), node.size)
    else:
        _write_items(node, value, out, depth)
    return 0


cdef int _write_union(Node node, object value, Buffer *out, int depth) except -1:
    cdef object kind = type(value)
    cdef int number
    for number in range(node.size):
        if PyTuple_GET_ITEM(node.kinds, number) == <PyObject *>kind:
            _put_byte(out, 2 * number)
            return _write(<Node>PyTuple_GET_ITEM(node.nodes, number), value, out, depth)
    raise TypeError("the union takes no " + type(value).__name__)


cdef int _write_record(Node node, object value, Buffer *out, int depth) except -1:
    cdef int number
    if node.recursive:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError("record too deep")
    if node.by_order:
        if not PyTuple_Check(value):
            value = tuple(value)
        if PyTuple_GET_SIZE(value) != node.size:
            raise ValueError(f"expected {node.size} fields, got {len(value)}")
        for number in range(node.size):
            _write(<Node>PyTuple_GET_ITEM(node.nodes, number), <object>PyTuple_GET_ITEM(value, number), out, depth)
    else:
        for number in range(node.size):
            _write(
                <Node>PyTuple_GET_ITEM(node.nodes, number),
                getattr(value, <object>PyTuple_GET_ITEM(node.names, number)),
                out,
                depth,
            )
    return 0


cdef int _write_items(Node node, object value, Buffer *out, int depth) except -1:
    """An array or map: one block, then the end. Nothing for an empty one but the end."""
    cdef Node items = <Node>PyTuple_GET_ITEM(node.nodes, 0)
    if value:
        out.left -= len(value)
        if out.left < 0:
            raise ValueError("too many items")
        _put_long(out, len(value))
        if node.kind == ARRAY:
            for item in value:
                _write(items, item, out, depth)
        else:
            for key, item in value.items():
                _put_string(out, key)
                _write(items, item, out, depth)
    return _put_byte(out, 0)


# --- reading ---


cdef struct Input:
    const unsigned char *data
    Py_ssize_t at
    Py_ssize_t end
    Py_ssize_t left  # items that the message may still have


cdef int _bad(str code) except -1:
    raise BadRecord(code)


cdef inline int _byte(Input *source) except -1:
    if source.at >= source.end:
        _bad("TRUNCATED")
    source.at += 1
    return source.data[source.at - 1]


cdef inline int64_t _long(Input *source, int bits) except? -1:
    cdef uint64_t number = 0
    cdef int shift = 0
    cdef int byte
    while True:
        byte = _byte(source)
        if shift == 63 and byte > 1:
            _bad("BAD_VARINT")
        number |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    if (byte == 0 and shift) or (bits == 32 and number >> 32):
        _bad("BAD_VARINT")
    return <int64_t>(number >> 1) ^ -<int64_t>(number & 1)


cdef inline Py_ssize_t _length(Input *source) except -1:
    cdef int64_t size = _long(source, 64)
    if size < 0:
        _bad("BAD_LENGTH")
    if size > source.end - source.at:
        _bad("TRUNCATED")
    return size


cdef inline object _string(Input *source):
    cdef Py_ssize_t size = _length(source)
    cdef const char *start = <const char *>source.data + source.at
    source.at += size
    try:
        return PyUnicode_DecodeUTF8(start, size, NULL)
    except UnicodeDecodeError:
        raise BadRecord("BAD_UTF8") from None


cdef object _read(Node node, Input *source, int depth):
    cdef Kind kind = node.kind
    cdef Py_ssize_t size
    cdef int64_t number
    cdef int byte
    cdef double real
    cdef float single
    cdef uint32_t bits
    if kind == STRING:
        return _string(source)
    if kind == LONG:
        return _long(source, 64)
    if kind == UNION:
        byte = _byte(source)
        if byte & 1 or byte >> 1 >= node.size:
            _bad("BAD_INDEX")
        return _read(<Node>PyTuple_GET_ITEM(node.nodes, byte >> 1), source, depth)
    if kind == NOTHING:
        return None
    if kind == ENUM:
        if node.size <= 64:
            byte = _byte(source)
            number = -1 if byte & 1 else byte >> 1
        else:
            number = _long(source, 64)
        if not 0 <= number < node.size:
            _bad("BAD_INDEX")
        return <object>PyTuple_GET_ITEM(node.names, number)
    if kind == RECORD:
        return _read_record(node, source, depth)
    if kind == INT:
        return _long(source, 32)
    if kind == BOOLEAN:
        byte = _byte(source)
        if byte > 1:
            _bad("BAD_BOOLEAN")
        return byte == 1
    if kind == ARRAY:
        return _read_array(node, source, depth)
    if kind == MAP:
        return _read_map(node, source, depth)
    size = _length(source) if kind == BYTES else 4 if kind == FLOAT else 8 if kind == DOUBLE else node.size
    if size > source.end - source.at:
        _bad("TRUNCATED")
    source.at += size
    cdef const unsigned char *start = source.data + source.at - size
    if kind == DOUBLE:
        memcpy(&real, start, 8)
        return PyFloat_FromDouble(real)
    if kind == FLOAT:
        memcpy(&bits, start, 4)
        # A signalling NaN, which a Python float cannot hold.
        if bits & 0x7F800000 == 0x7F800000 and bits & 0x7FFFFF and not bits & 0x400000:
            _bad("BAD_FLOAT")
        memcpy(&single, start, 4)
        return PyFloat_FromDouble(single)
    return PyBytes_FromStringAndSize(<const char *>start, size)


cdef object _read_record(Node node, Input *source, int depth):
    cdef int number
    cdef object part, record
    if node.recursive:
        depth += 1
        if depth > MAX_DEPTH:
            _bad("TOO_DEEP")
    if not node.by_order:
        parts = [_read(<Node>PyTuple_GET_ITEM(node.nodes, number), source, depth) for number in range(node.size)]
        return node.built(*parts)
    if node.built is tuple:
        record = PyTuple_New(node.size)
    else:
        # What tuple.__new__ does for a subclass, without the tuple to copy from.
        record = (<PyTypeObject *>node.built).tp_alloc(<PyTypeObject *>node.built, node.size)
    for number in range(node.size):
        part = _read(<Node>PyTuple_GET_ITEM(node.nodes, number), source, depth)
        Py_INCREF(part)
        PyTuple_SET_ITEM(record, number, part)
    return record


cdef int64_t _count(Input *source) except -1:
    """The number of items of an array or map, one block as all common writers write it, without its size; 0 for none."""
    cdef int64_t count
    if source.at < source.end and source.data[source.at] == 0:
        source.at += 1
        return 0
    count = _long(source, 64)
    if count < 0:
        _bad("BAD_LENGTH")
    if count > source.left:
        _bad("TOO_MANY_ITEMS")
    source.left -= count
    return count


cdef object _read_array(Node node, Input *source, int depth):
    cdef int64_t count = _count(source)
    cdef list items = []
    if count == 0:
        return ()
    for _ in range(count):
        items.append(_read(<Node>PyTuple_GET_ITEM(node.nodes, 0), source, depth))
    if _byte(source):
        _bad("SECOND_BLOCK")
    return tuple(items)


cdef object _read_map(Node node, Input *source, int depth):
    cdef int64_t count = _count(source)
    cdef dict items = {}
    if count == 0:
        return items
    for _ in range(count):
        key = _string(source)
        if key in items:
            _bad("DUPLICATE_KEY")
        items[key] = _read(<Node>PyTuple_GET_ITEM(node.nodes, 0), source, depth)
    if _byte(source):
        _bad("SECOND_BLOCK")
    return items


# --- what the module gives ---


cdef class Coder:
    """The functions of one schema; see `transforms.avro` for what they take, give and raise. `types` None: records are plain tuples."""

    cdef Node top
    cdef tuple chosen  # numbers of the fields that `project` gives
    cdef Py_ssize_t max_bytes, max_items

    def __init__(self, top, types, Py_ssize_t max_bytes, Py_ssize_t max_items, chosen=()):
        self.top = make_node(top, types, {})
        self.max_bytes, self.max_items, self.chosen = max_bytes, max_items, tuple(chosen)

    def encode(self, value):
        return self._encode(b"", value)

    def encode_behind(self, bytes head not None, value):
        """`head`, then the encoding of `value`; the bound on the size does not count `head`."""
        return self._encode(head, value)

    cdef bytes _encode(self, bytes head, object value):
        cdef char stack[1024]
        cdef Buffer out
        out.data, out.size, out.room, out.heap, out.left = stack, 0, 1024, NULL, self.max_items
        try:
            _put(&out, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
            _write(self.top, value, &out, 0)
            if out.size - PyBytes_GET_SIZE(head) > self.max_bytes:
                raise ValueError("message too large")
            return PyBytes_FromStringAndSize(out.data, out.size)
        finally:
            PyMem_Free(out.heap)

    def decode(self, bytes data not None, Py_ssize_t start=0):
        cdef Input source
        if not 0 <= start <= PyBytes_GET_SIZE(data):
            _bad("TRUNCATED")
        source.data, source.end = <const unsigned char *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        source.at, source.left = start, self.max_items
        if source.end - start > self.max_bytes:
            _bad("TOO_LARGE")
        value = _read(self.top, &source, 0)
        if source.at != source.end:
            _bad("TRAILING_BYTES")
        return value

    def project(self, bytes data not None, Py_ssize_t start=0):
        """The chosen fields of a record; all of it is checked."""
        cdef tuple fields = self.decode(data, start)
        return tuple([fields[number] for number in self.chosen])

    def read(self, bytes data not None, Py_ssize_t count):
        """`count` values that stand one after another and fill `data`."""
        cdef Input source
        cdef list values = []
        source.data, source.at, source.end = <const unsigned char *>PyBytes_AS_STRING(data), 0, PyBytes_GET_SIZE(data)
        for _ in range(count):
            source.left = self.max_items
            values.append(_read(self.top, &source, 0))
        if source.at != source.end:
            _bad("TRAILING_BYTES")
        return values


# --- many log records at a time: chunks (event_runs.py, output_batches.py, log_merge.py) ---

cdef array.array _NUMBERS = _array("q")


cdef class _Origins:
    """Reads origins. Most have the source of the one before; then they share it too, which makes it quick to look up."""

    cdef Node node, sources
    cdef Py_ssize_t start, size  # where the last source stands in the payload
    cdef object source

    def __init__(self, Coder coder not None):
        self.node = coder.top
        self.sources = <Node>self.node.nodes[0]

    cdef object read(self, Input *data):
        cdef Py_ssize_t start = data.at
        cdef int number
        cdef object part, origin
        if self.size and data.end - start >= self.size and not memcmp(data.data + self.start, data.data + start, self.size):
            data.at += self.size
        else:
            self.source = _read(self.sources, data, 0)
            self.start, self.size = start, data.at - start
        origin = (<PyTypeObject *>self.node.built).tp_alloc(<PyTypeObject *>self.node.built, self.node.size)
        Py_INCREF(self.source)
        PyTuple_SET_ITEM(origin, 0, self.source)
        for number in range(1, self.node.size):
            part = _read(<Node>PyTuple_GET_ITEM(self.node.nodes, number), data, 0)
            Py_INCREF(part)
            PyTuple_SET_ITEM(origin, number, part)
        return origin


def read_run(bytes payload not None, Py_ssize_t count, dict coders not None, Coder origin_coder not None):
    """`count` log records that fill `payload`, by column: (first offset, times, keys, events, start and end of each value, origins).

    coders: frame → Coder. The event is None where the value is none of theirs, or not what they read. None for the whole where a record has
    no value or has headers, where offsets do not follow one another, and where the payload is damaged.
    """
    cdef Input source, value
    cdef list times = [], keys = [], events = [], origins = []
    cdef array.array spans = array.clone(_NUMBERS, 2 * count, zero=False)
    cdef int64_t first = 0, offset
    cdef Py_ssize_t n, size
    cdef int branch
    cdef Coder coder = None
    cdef _Origins reader = _Origins(origin_coder)
    cdef bytes frame = b""
    source.data, source.at, source.end = <const unsigned char *>PyBytes_AS_STRING(payload), 0, PyBytes_GET_SIZE(payload)
    source.left = 0
    try:
        for n in range(count):
            offset = _long(&source, 64)
            if n == 0:
                first = offset
            elif offset != first + n:
                return None
            times.append(_long(&source, 64))
            keys.append(_optional_bytes(&source))
            if _byte(&source) != 2:
                return None
            size = _length(&source)
            value.data, value.at, value.end = source.data, source.at + 5, source.at + size
            source.at += size
            spans.data.as_longlongs[2 * n], spans.data.as_longlongs[2 * n + 1] = value.at - 5, value.end
            event = None
            if size >= 5:
                if len(frame) != 5 or memcmp(PyBytes_AS_STRING(frame), value.data + value.at - 5, 5):
                    frame = PyBytes_FromStringAndSize(<const char *>value.data + value.at - 5, 5)
                    coder = coders.get(frame)
                if coder is not None and size - 5 <= coder.max_bytes:
                    value.left = coder.max_items
                    try:
                        event = _read(coder.top, &value, 0)
                    except BadRecord:
                        pass  # who folds it record by record makes a dead letter of it
                    if value.at != value.end:
                        event = None
            events.append(event)
            branch = _byte(&source)
            if branch == 2:
                origins.append(reader.read(&source))
            elif branch == 0:
                origins.append(None)
            else:
                return None
            if _byte(&source):
                return None
    except BadRecord:
        return None
    return (first, times, keys, events, spans, origins) if source.at == source.end else None


cdef object _optional_bytes(Input *source):
    """A union of null and bytes."""
    cdef int branch = _byte(source)
    cdef Py_ssize_t size
    if branch == 0:
        return None
    if branch != 2:
        _bad("BAD_INDEX")
    size = _length(source)
    source.at += size
    return PyBytes_FromStringAndSize(<const char *>source.data + source.at - size, size)


def find_places(bytes payload not None, Py_ssize_t count, Coder origin_coder not None):
    """Of each of the `count` log records that fill `payload`: (its place in the order of a topic, payload, start and end behind its offset).

    The place is (append time, source, offset, index) by its origin, and (append time, (), key, offset, value) without one. None for the whole
    where a record has headers and where the payload is damaged.
    """
    cdef Input source
    cdef list found = []
    cdef int64_t offset
    cdef Py_ssize_t n, start
    cdef int branch
    cdef _Origins reader = _Origins(origin_coder)
    cdef object origin
    source.data, source.at, source.end = <const unsigned char *>PyBytes_AS_STRING(payload), 0, PyBytes_GET_SIZE(payload)
    source.left = 0
    try:
        for n in range(count):
            offset = _long(&source, 64)
            start = source.at
            at = _long(&source, 64)
            key = _optional_bytes(&source)
            value = _optional_bytes(&source)
            branch = _byte(&source)
            if branch == 2:
                origin = reader.read(&source)
                place = (
                    at,
                    <object>PyTuple_GET_ITEM(origin, 0),
                    <object>PyTuple_GET_ITEM(origin, 1),
                    <object>PyTuple_GET_ITEM(origin, 2),
                )
            elif branch == 0:
                place = (at, (), key or b"", offset, value or b"")
            else:
                return None
            if _byte(&source):
                return None
            found.append((place, payload, start, source.at))
    except BadRecord:
        return None
    return found if source.at == source.end else None


def join_places(list found not None, int64_t first):
    """The payload of the records that `find_places` found, with offsets from `first`."""
    cdef char stack[4096]
    cdef Buffer out
    cdef Py_ssize_t n, start, end
    cdef tuple one
    cdef bytes payload
    out.data, out.size, out.room, out.heap = stack, 0, 4096, NULL
    try:
        for n in range(len(found)):
            one = <tuple?>found[n]
            payload, start, end = <bytes?>one[1], one[2], one[3]
            _put_long(&out, first + n)
            _put(&out, PyBytes_AS_STRING(payload) + start, end - start)
        return PyBytes_FromStringAndSize(out.data, out.size)
    finally:
        PyMem_Free(out.heap)


def write_outputs(bytes writer not None, dict coders not None, int64_t first, list times not None, list emitted not None, prev):
    """What a shard emitted to one partition, as log records from offset `first`, appended at `times`: (payload, last position).

    writer: how the origins begin, up to the partition. coders: type of event → (frame, Coder), else KeyError. prev: position (offset, index)
    of the output before these, or None; the last position is what it is after them.
    """
    cdef char stack[4096], value_stack[1024]
    cdef Buffer out, value
    cdef Py_ssize_t n
    cdef Coder coder
    cdef bytes frame
    cdef int64_t offset = 0, index = 0, prev_offset = 0, prev_index = 0
    cdef bint has_prev = prev is not None
    if has_prev:
        prev_offset, prev_index = prev
    out.data, out.size, out.room, out.heap = stack, 0, 4096, NULL
    value.data, value.room, value.heap = value_stack, 1024, NULL
    try:
        for n in range(len(emitted)):
            _, _, key, event, offset_, index_, version = <tuple?>emitted[n]
            frame, coder = coders[type(event)]
            _put_long(&out, first + n)
            _put_long(&out, _integer(times[n]))
            if key is None:
                _put_byte(&out, 0)
            else:
                _put_bytes(&out, key)
            value.size, value.left = 0, coder.max_items
            _put(&value, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
            _write(coder.top, event, &value, 0)
            if value.size - PyBytes_GET_SIZE(frame) > coder.max_bytes:
                raise ValueError("message too large")
            _put_byte(&out, 2)
            _put_long(&out, value.size)
            _put(&out, value.data, value.size)
            if version is None:
                offset, index = offset_, index_
                _put(&out, PyBytes_AS_STRING(writer), PyBytes_GET_SIZE(writer))
                _put_long(&out, offset)
                _put_long(&out, index)
                if has_prev:
                    _put_byte(&out, 2)
                    _put_long(&out, prev_offset)
                    _put_long(&out, prev_index)
                else:
                    _put_byte(&out, 0)
                has_prev, prev_offset, prev_index = True, offset, index
            else:
                _put_byte(&out, 0)
            _put_byte(&out, 0)  # no headers
        return PyBytes_FromStringAndSize(out.data, out.size), (prev_offset, prev_index) if has_prev else None
    finally:
        PyMem_Free(out.heap)
        PyMem_Free(value.heap)


cdef int _put_bytes(Buffer *out, object data) except -1:
    """The second branch of a union of null and bytes."""
    if not PyBytes_CheckExact(data):
        raise TypeError(f"expected bytes, got {type(data).__name__}")
    _put_byte(out, 2)
    _put_long(out, PyBytes_GET_SIZE(data))
    return _put(out, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


# --- the values and outputs of a step of a lane (lane_values.py) ---


def decode_values(list values not None, dict coders not None):
    """The event of each framed value; None where it is none of theirs, or not what they read. coders: frame → Coder."""
    cdef list events = []
    cdef Input source
    cdef Coder coder = None
    cdef bytes frame = b"", data
    cdef object value, event
    cdef Py_ssize_t size
    for value in values:
        event = None
        if PyBytes_CheckExact(value) and PyBytes_GET_SIZE(value) >= 5:
            data = <bytes>value
            size = PyBytes_GET_SIZE(data)
            if len(frame) != 5 or memcmp(PyBytes_AS_STRING(frame), PyBytes_AS_STRING(data), 5):
                frame = data[:5]
                coder = coders.get(frame)
            if coder is not None and size - 5 <= coder.max_bytes:
                source.data, source.at, source.end = <const unsigned char *>PyBytes_AS_STRING(data), 5, size
                source.left = coder.max_items
                try:
                    event = _read(coder.top, &source, 0)
                except BadRecord:
                    pass  # who folds it record by record makes a dead letter of it
                if source.at != size:
                    event = None
        events.append(event)
    return events


cdef inline object _pair(PyTypeObject *kind, object one, object other):
    """A named tuple of two fields."""
    cdef object pair = kind.tp_alloc(kind, 2)
    Py_INCREF(one)
    PyTuple_SET_ITEM(pair, 0, one)
    Py_INCREF(other)
    PyTuple_SET_ITEM(pair, 1, other)
    return pair


cdef inline void _put_big_endian(char *at, int64_t number, int size) noexcept:
    cdef int n
    for n in range(size):
        at[n] = <char>(number >> 8 * (size - 1 - n))


def make_outputs(bytes prefix not None, dict coders not None, list emitted not None, dict prevs not None, headers not None, position not None):
    """What a shard emitted, as records for the writer: (topic, partition, key, value, its one header), without overtaken upserts.

    prefix: how the origins begin. coders: type of event → (frame, Coder), else KeyError. prevs: the shard's, moved on as `Shard.follow`
    does, with new ones of type `position`. headers: names of those of origin and version.
    """
    cdef list made = []
    cdef dict newest = {}
    cdef tuple one, target = None
    cdef Coder coder
    cdef bytes frame, header
    cdef str origin_name, version_name
    cdef Py_ssize_t size = PyBytes_GET_SIZE(prefix)
    cdef int64_t offset, prev_offset
    cdef int index, prev_index
    cdef char *place
    cdef object topic, partition, key, event, offset_, index_, version, prev
    origin_name, version_name = headers
    for one in emitted:
        if one[6] is not None:
            newest[one[0], one[2]] = one[6]
    for one in emitted:
        topic, partition, key, event, offset_, index_, version = one
        if version is not None and version < newest[topic, key]:
            continue
        frame, coder = coders[type(event)]
        if version is None:
            if target is None or target[0] is not topic or target[1] != partition:
                target = (topic, partition)
            prev = prevs.get(target)
            prevs[target] = _pair(<PyTypeObject *>position, offset_, index_)
            offset, index, prev_offset, prev_index = offset_, index_, -1, -1
            if prev is not None:
                prev_offset, prev_index = prev
            header = PyBytes_FromStringAndSize(NULL, size + 24)
            place = PyBytes_AS_STRING(header)
            memcpy(place, PyBytes_AS_STRING(prefix), size)
            _put_big_endian(place + size, offset, 8)
            _put_big_endian(place + size + 8, index, 4)
            _put_big_endian(place + size + 12, prev_offset, 8)
            _put_big_endian(place + size + 20, prev_index, 4)
            heads = [(origin_name, header)]
        else:
            header = PyBytes_FromStringAndSize(NULL, 8)
            _put_big_endian(PyBytes_AS_STRING(header), _integer(version), 8)
            heads = [(version_name, header)]
        made.append((topic, partition, key, coder._encode(frame, event), heads))
    return made
