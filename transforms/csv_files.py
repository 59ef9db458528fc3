"""CSV files as rows with their place: `ReadCsv`, the pure functions behind it, and `WriteBadRows`.

Quoting is that of Python's csv module in its strict mode (RFC 4180: a quote inside a quoted field is doubled, a quoted field may hold
line breaks). A file may be compressed by gzip, whatever its name. What is no row becomes a `BadCsvRow` with its place and its text, so
that rows and bad rows account for every line that is not blank; only what no row can be blamed for (a header without the expected
columns, a damaged compression) is an error of the file.
"""

import csv
import gzip
import io
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import coders
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import TaggedOutput

from transforms.errors import InputError
from transforms.plain import decode_plain, encode_plain
from transforms.whole_files import whole_file

MAX_ROW_CHARS = (
    1 << 17
)  # of one row, as the csv module limits a field: a quote without an end must not take the rest of a file
_GZIP = b"\x1f\x8b"


class CsvFileError(InputError):
    """A file cannot be read as the CSV that it should be; the message is one line with the file's name and what is wrong."""


class CsvRow(NamedTuple):
    """A row: its file, the number of its (first) line from 1, and its fields by column name, in the file's order."""

    file: str
    line: int
    fields: dict[str, str]


class BadCsvRow(NamedTuple):
    """What is no row: where it stands, why, and its text without the last line break.

    code: RAGGED_ROW (fewer or more fields than the header), BAD_QUOTING, BAD_ENCODING (`text` has U+FFFD where bytes could not be decoded),
    ROW_TOO_LONG (`text` is the beginning).
    """

    file: str
    line: int
    code: str
    detail: str
    text: str


class _PlainCoder(coders.Coder):
    """A NamedTuple of plain values."""

    kind: Any

    def encode(self, value: Any) -> bytes:
        return encode_plain(tuple(value))

    def decode(self, encoded: bytes) -> Any:
        return self.kind(*decode_plain(encoded))

    def is_deterministic(self) -> bool:
        return True


class CsvRowCoder(_PlainCoder):
    kind = CsvRow


class BadCsvRowCoder(_PlainCoder):
    kind = BadCsvRow


coders.registry.register_coder(CsvRow, CsvRowCoder)
coders.registry.register_coder(BadCsvRow, BadCsvRowCoder)


@dataclass(frozen=True)
class CsvFormat:
    """How files are written.

    delimiter, quote: one character each; encoding: one whose line breaks are those of ASCII (UTF-8 with or without a byte order mark by
    default; UTF-16 is not); columns: those that the header must have, in any order, others may stand between them. With `header=False`
    the files have no header and their fields are `columns`, in that order.
    """

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8-sig"
    columns: tuple[str, ...] = ()
    header: bool = True

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote"):
            sign = getattr(self, name)
            if not isinstance(sign, str) or len(sign) != 1 or sign in "\r\n":
                raise ValueError(f"{name} must be one character, got {sign!r}")
        if self.delimiter == self.quote:
            raise ValueError(f"delimiter and quote are the same, {self.quote!r}")
        try:
            plain = "a\r\n".encode(self.encoding).endswith(b"a\r\n")
            if plain:
                io.TextIOWrapper(io.BytesIO(b"a\xff\r\n"), encoding=self.encoding, errors="surrogateescape").read()
        except LookupError:
            raise ValueError(f"unknown encoding {self.encoding!r}") from None
        except ValueError as error:  # idna and the like, which are for names and not for texts
            raise ValueError(f"encoding {self.encoding!r} is not one of files ({error})") from None
        if not plain:
            raise ValueError(f"encoding {self.encoding!r} does not write line breaks as ASCII does")
        if not self.header and not self.columns:
            raise ValueError("columns must be named when there is no header")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"a column is named twice in {', '.join(self.columns)}")


@dataclass(frozen=True)
class CsvRows:
    """What `ReadCsv` gives: `rows`, PCollection[CsvRow], and `bad`, PCollection[BadCsvRow]."""

    rows: Any
    bad: Any


class ReadCsv(beam.PTransform):
    """Root → CsvRows: CSV files, local or of a Beam file system, each read by one worker in memory of one row, all of them in parallel.

    Bounded; no timestamps; rows come in no order between files, `line` says which within one. A file that is named twice is read once. The
    headers are read when the pipeline is built: CsvFileError says at once what is wrong with them, later what is wrong inside.
    """

    def __init__(self, paths: Iterable[str], form: CsvFormat | None = None) -> None:
        super().__init__()
        self._paths = sorted(set(map(str, paths)))
        self.form = form or CsvFormat()
        if not self._paths:
            raise ValueError("ReadCsv: no files are named")
        for path in self._paths:
            read_header(path, self.form)

    def expand(self, root: Any) -> Any:
        read = beam.ParDo(_Read(self.form)).with_output_types(CsvRow, bad=BadCsvRow)
        split = (
            root
            | "Files" >> beam.Create(list(enumerate(self._paths)), reshuffle=False).with_output_types(tuple[int, str])
            | "Spread" >> beam.GroupByKey()
            | "Read" >> read.with_outputs("bad", main="rows")
        )
        return CsvRows(split.rows, split.bad)


class WriteBadRows(beam.PTransform):
    """PCollection[BadCsvRow], bounded → PCollection[tuple[str, int]]: a CSV of file, line, code, detail and text; gives (code, rows).

    The rows stand in the order of file and line. The file (UTF-8) appears whole, by rename, with only its header when there are no bad
    rows. All pass through the memory of one worker: it is for what was refused, not for data.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def expand(self, bad: Any) -> Any:
        path, coder = self._path, BadCsvRowCoder()

        def write(group: tuple[int, Iterable[bytes]]) -> Iterator[tuple[str, int]]:
            rows = sorted(coder.decode(raw) for raw in group[1] if raw)
            with whole_file(path, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(BadCsvRow._fields)
                writer.writerows(rows)
            yield from sorted(Counter(row.code for row in rows).items())

        def keyed(row: BadCsvRow) -> tuple[int, bytes]:
            return 0, coder.encode(row)

        # The element that makes a file of no rows.
        empty = bad.pipeline | "Empty" >> beam.Create([(0, b"")], reshuffle=False).with_output_types(tuple[int, bytes])
        return (
            (bad | "Encode" >> beam.Map(keyed).with_output_types(tuple[int, bytes]), empty)
            | "WithEmpty" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.FlatMap(write).with_output_types(tuple[str, int])
        )


def csv_line(values: Iterable[str], form: CsvFormat) -> str:
    """Fields as a line of a file of this format, without a line break at its end."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=form.delimiter, quotechar=form.quote, lineterminator="").writerow(values)
    return text.getvalue()


class _Read(beam.DoFn):
    def __init__(self, form: CsvFormat) -> None:
        self.form = form

    def process(self, element: tuple[int, Iterable[str]]) -> Iterator[Any]:
        for path in element[1]:
            for row in read_csv(path, self.form):
                yield row if type(row) is CsvRow else TaggedOutput("bad", row)


def read_header(path: str, form: CsvFormat) -> tuple[str, ...]:
    """The column names of a file; CsvFileError when it has not those that it should have, or cannot be read."""
    with _open(path, form) as file:
        return _header(path, _Lines(file), form)


def read_csv(path: str, form: CsvFormat) -> Iterator[CsvRow | BadCsvRow]:
    """The rows of a file in its order; blank lines are none. CsvFileError as for `read_header`."""
    with _open(path, form) as file:
        lines = _Lines(file)
        names = _header(path, lines, form)
        try:
            while (found := _next(lines, form)) is not None:
                yield _row(path, names, *found)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise CsvFileError(f"{path}: damaged or truncated gzip data after line {lines.number}") from None
        except OSError as error:
            raise CsvFileError(f"{path}: {error.strerror or error}") from None


def _row(path: str, names: Sequence[str], line: int, text: str, fields: list[str], fault: str) -> CsvRow | BadCsvRow:
    code = detail = ""
    if fault:
        code, detail = ("ROW_TOO_LONG" if fault == _TOO_LONG else "BAD_QUOTING"), fault
    elif not _is_text(text):
        code, detail = "BAD_ENCODING", "bytes that are not of the encoding"
    elif len(fields) != len(names):
        code, detail = "RAGGED_ROW", f"expected {len(names)} fields, got {len(fields)}"
    if code:
        # Undecodable bytes stand in the text as lone surrogates, which nothing could write.
        shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return BadCsvRow(path, line, code, detail, shown.rstrip("\r\n"))
    return CsvRow(path, line, dict(zip(names, fields, strict=True)))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _open(path: str, form: CsvFormat) -> Any:
    try:
        raw: Any = (
            FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
            if "://" in path
            else open(path, "rb")  # noqa: SIM115 - closed by the text wrapper
        )
        buffered = io.BufferedReader(raw) if isinstance(raw, io.RawIOBase) else raw
        start = buffered.read(2)
        buffered.seek(0)
    except Exception as error:  # file systems raise errors of many kinds
        raise CsvFileError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    # Python's reader checks length and checksum of the data, Beam's own would end silently where a file is cut.
    data: Any = gzip.GzipFile(fileobj=buffered) if start == _GZIP else buffered
    return io.TextIOWrapper(data, encoding=form.encoding, errors="surrogateescape", newline="")


class _Lines:
    """Lines of a file with their numbers; can be given lines back."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._back: deque[str] = deque()
        self.number = 0  # lines handed out

    def next(self) -> str:
        """The next line, at most one character more than a row may have; "" at the end."""
        line = self._back.popleft() if self._back else self._file.readline(MAX_ROW_CHARS + 1)
        self.number += bool(line)
        return str(line)

    def give_back(self, lines: Sequence[str]) -> None:
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)


_TOO_LONG = f"longer than {MAX_ROW_CHARS} characters"


def _next(lines: _Lines, form: CsvFormat) -> tuple[int, str, list[str], str] | None:
    """The next row: (line number, text, fields, what is wrong or ""), None at the end.

    Where the quoting is wrong only one line is given up, and reading goes on with the next one: a stray quote must not swallow the good
    rows behind it.
    """
    while True:
        held: list[str] = []
        reader = csv.reader(
            _held_lines(lines, held), delimiter=form.delimiter, quotechar=form.quote, strict=True, doublequote=True
        )
        first = lines.number + 1
        try:
            fields = next(reader, None)
        except _RowTooLong:
            pass
        except csv.Error as error:
            lines.give_back(held[1:])
            return first, held[0], [], str(error)
        else:
            if fields is None:
                return None
            if fields:
                return first, "".join(held), fields, ""
            continue  # a blank line
        if len(held) > 1:  # it is the quote that is wrong, not the length
            lines.give_back(held[1:])
            return first, held[0], [], "quoted field without an end"
        return first, _skip_line(lines, held[0]), [], _TOO_LONG


class _RowTooLong(Exception):
    pass


def _held_lines(lines: _Lines, held: list[str]) -> Iterator[str]:
    size = 0
    while line := lines.next():
        held.append(line)
        size += len(line)
        if size > MAX_ROW_CHARS:
            raise _RowTooLong
        yield line


def _skip_line(lines: _Lines, start: str) -> str:
    """Reads on to the end of a line that is too long; gives its beginning."""
    part = start
    number = lines.number
    while part and not part.endswith(("\n", "\r")):
        part = lines.next()
    lines.number = number
    return start[:1000]


def _header(path: str, lines: _Lines, form: CsvFormat) -> tuple[str, ...]:
    if not form.header:
        return form.columns
    try:
        found = _next(lines, form)
    except (EOFError, OSError, zlib.error) as error:
        raise CsvFileError(f"{path}: cannot be read ({error})") from None
    if found is None or found[3] or not _is_text(found[1]):
        raise CsvFileError(
            f"{path}: no header, but {found[3] or 'other bytes than text' if found else 'an empty file'}"
        )
    names = tuple(found[2])
    missing = [name for name in form.columns if name not in names]
    if missing:
        raise CsvFileError(f"{path}: no column {', '.join(missing)} in the header, which has {', '.join(names)}")
    if len(set(names)) < len(names):
        raise CsvFileError(f"{path}: a column is named twice in the header: {', '.join(names)}")
    return names
