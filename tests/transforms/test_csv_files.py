"""CSV: every line that is not blank becomes a row or a bad row, at its place."""

import csv
import gzip
import io
import itertools
import random
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from tests.conftest import MakePipeline
from tests.proto import assert_no_pickled_coders
from transforms.csv_files import (
    MAX_ROW_CHARS,
    BadCsvRow,
    BadCsvRowCoder,
    CsvFileError,
    CsvFormat,
    CsvRow,
    CsvRowCoder,
    ReadCsv,
    WriteBadRows,
    csv_line,
    read_csv,
    read_header,
)


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(path: str, form: CsvFormat | None = None) -> list[tuple[int, object]]:
    """(line, values) of rows, (line, code) of bad ones."""
    return [
        (row.line, list(row.fields.values()) if isinstance(row, CsvRow) else row.code)
        for row in read_csv(path, form or CsvFormat())
    ]


def test_rows_have_their_line_and_their_fields_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '﻿id,text\r\n1,"a, ""b""\r\nc"\r\n\r\n2,ü\r\n')
    assert list(read_csv(path, CsvFormat())) == [
        CsvRow(path, 2, {"id": "1", "text": 'a, "b"\r\nc'}),
        CsvRow(path, 5, {"id": "2", "text": "ü"}),
    ]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("packed", [False, True])
def test_line_breaks_and_compression(line_break: str, packed: bool, tmp_path: Path) -> None:
    text = line_break.join(["a;b", "1;x|y", "|2;3|;4", "5;6"]).encode()
    path = write(tmp_path / ("a.csv.gz" if packed else "a.csv"), gzip.compress(text) if packed else text)
    assert read(path, CsvFormat(delimiter=";", quote="|")) == [
        (2, ["1", "x|y"]),
        (3, ["2;3", "4"]),
        (4, ["5", "6"]),
    ]


def test_what_is_no_row_keeps_its_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'a,b\n1,2\nonly\n1,2,3\n"x"y,2\n\xff,2\n3,4\n')
    bad = [row for row in read_csv(path, CsvFormat()) if isinstance(row, BadCsvRow)]
    assert bad == [
        BadCsvRow(path, 3, "RAGGED_ROW", "expected 2 fields, got 1", "only"),
        BadCsvRow(path, 4, "RAGGED_ROW", "expected 2 fields, got 3", "1,2,3"),
        BadCsvRow(path, 5, "BAD_QUOTING", "',' expected after '\"'", '"x"y,2'),
        BadCsvRow(path, 6, "BAD_ENCODING", "bytes that are not of the encoding", "�,2"),
    ]
    assert read(path)[0] == (2, ["1", "2"]) and read(path)[-1] == (7, ["3", "4"])


def test_a_stray_quote_costs_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n1,"2\n3,4\n5,6\n')
    assert read(path) == [(2, "BAD_QUOTING"), (3, ["3", "4"]), (4, ["5", "6"])]
    rest = "".join(f"{n},{'x' * 1000}\n" for n in range(200))  # the quote is given up before the end of the file
    path = write(tmp_path / "b.csv", f'a,b\n1,"2\n{rest}')
    assert read(path) == [(2, "BAD_QUOTING"), *((n + 3, [str(n), "x" * 1000]) for n in range(200))]


def test_a_row_that_is_too_long(tmp_path: Path) -> None:
    long = "x" * (3 * MAX_ROW_CHARS)
    path = write(tmp_path / "a.csv", f"a,b\n1,{long}\n3,4\n")
    rows = list(read_csv(path, CsvFormat()))
    assert rows[0][1:4] == (2, "ROW_TOO_LONG", f"longer than {MAX_ROW_CHARS} characters")
    assert rows[0].text == f"1,{long}"[:1000]  # type: ignore[union-attr]
    assert rows[1:] == [CsvRow(path, 3, {"a": "3", "b": "4"})]
    path = write(tmp_path / "b.csv", "a\n" + "y" * (MAX_ROW_CHARS - 1) + "\n" + long)
    assert read(path) == [(2, ["y" * (MAX_ROW_CHARS - 1)]), (3, "ROW_TOO_LONG")]


def test_any_table_survives(tmp_path: Path) -> None:
    """Against the csv module's own writer."""
    draw = random.Random(5)
    rows = [["".join(draw.choices('ab",;\n\r é', k=draw.randrange(6))) for _ in range(3)] for _ in range(500)]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["x", "y", "z"], *rows])
    path = write(tmp_path / "a.csv", text.getvalue())
    found = list(read_csv(path, CsvFormat()))
    assert [list(row.fields.values()) for row in found if isinstance(row, CsvRow)] == rows
    assert all(a.line < b.line for a, b in itertools.pairwise(found))


def test_other_encodings_and_no_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Žluť\tkůň\n".encode("cp1250"))
    form = CsvFormat(delimiter="\t", encoding="cp1250", columns=("a", "b"), header=False)
    assert list(read_csv(path, form)) == [CsvRow(path, 1, {"a": "Žluť", "b": "kůň"})]
    assert read_header(path, form) == ("a", "b")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no header, but an empty file"),
        (b"\n\n", "no header, but an empty file"),
        (b"a,c\n1,2\n", "no column b in the header, which has a, c"),
        (b"a,b,a\n", "a column is named twice in the header: a, b, a"),
        (b'a,"b\n', "no header, but unexpected end of data"),
        (b"a,b,\xff\n", "no header, but other bytes than text"),
        (b"\x1f\x8bnonsense", "cannot be read"),
    ],
)
def test_headers(data: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", data)
    with pytest.raises(CsvFileError, match=message):
        read_header(path, CsvFormat(columns=("b", "a")))
    with pytest.raises(CsvFileError, match=message):
        list(read_csv(path, CsvFormat(columns=("b", "a"))))


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CsvFileError, match=r"none\.csv: No such file"):
        read_header(str(tmp_path / "none.csv"), CsvFormat())
    with pytest.raises(CsvFileError, match="nosuch://x/y: "):
        read_header("nosuch://x/y", CsvFormat())
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(50_000)))
    cut = write(tmp_path / "cut.csv.gz", whole[:-1000])
    with pytest.raises(CsvFileError, match="damaged or truncated gzip data after line"):
        list(read_csv(cut, CsvFormat()))
    good = write(tmp_path / "good.csv", "a\n1\n")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    rows = read_csv(good, CsvFormat())
    monkeypatch.setattr("transforms.csv_files._next", fail)
    with pytest.raises(CsvFileError, match="cannot be read"):
        next(rows)
    with pytest.raises(CsvFileError, match=r"good.csv: Input/output error"):
        list(read_csv(good, CsvFormat(columns=("a",), header=False)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delimiter": ";;"}, "delimiter must be one character, got ';;'"),
        ({"quote": "\n"}, "quote must be one character"),
        ({"delimiter": '"'}, "delimiter and quote are the same"),
        ({"encoding": "klingon"}, "unknown encoding 'klingon'"),
        ({"encoding": "idna"}, "encoding 'idna' is not one of files"),
        ({"encoding": "a\0b"}, "is not one of files"),
        ({"encoding": "\ud800"}, "is not one of files"),
        ({"encoding": "utf-16"}, "does not write line breaks as ASCII does"),
        ({"header": False}, "columns must be named when there is no header"),
        ({"columns": ("a", "a")}, "a column is named twice in a, a"),
    ],
)
def test_formats_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CsvFormat(**settings)  # type: ignore[arg-type]


def test_the_transform_reads_all_files_once(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    first = write(tmp_path / "1.csv", "a,b\n1,2\nx\n")
    second = write(tmp_path / "2.csv.gz", gzip.compress(b"b,a,c\n4,3,9\n"))
    with make_pipeline() as p:
        found = p | ReadCsv([second, first, first], CsvFormat(columns=("a", "b")))
        rows = found.rows | beam.Map(lambda row: (row.file, row.line, row.fields["a"], row.fields["b"]))
        assert_that(rows, equal_to([(first, 2, "1", "2"), (second, 2, "3", "4")]))
        assert_that(found.bad, equal_to([BadCsvRow(first, 3, "RAGGED_ROW", "expected 2 fields, got 1", "x")]), "bad")


def test_files_are_checked_when_the_pipeline_is_built_and_nothing_is_pickled(
    tmp_path: Path, make_pipeline: MakePipeline
) -> None:
    path = write(tmp_path / "1.csv", "a,b\n1,2\n")
    with pytest.raises(CsvFileError, match="no column z"):
        ReadCsv([path], CsvFormat(columns=("z",)))
    with pytest.raises(ValueError, match="no files are named"):
        ReadCsv([])
    pipeline = make_pipeline()
    pipeline | ReadCsv([path])
    assert_no_pickled_coders(pipeline)


def test_coders_are_deterministic_and_whole() -> None:
    row, bad = CsvRow("f", 1, {"b": "ü", "a": ""}), BadCsvRow("f", 2, "RAGGED_ROW", "d", "t\n")
    for coder, value in ((CsvRowCoder(), row), (BadCsvRowCoder(), bad)):
        back = coder.decode(coder.encode(value))
        assert back == value and type(back) is type(value) and coder.is_deterministic()


def test_bad_rows_are_written_in_order_and_counted(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    path = tmp_path / "bad.csv"
    bad = [
        BadCsvRow("b", 2, "X", "", "3"),
        BadCsvRow("a", 10, "X", "d", 'one,"two"\nthree'),
        BadCsvRow("a", 9, "Y", "d", ""),
    ]
    with make_pipeline() as p:
        found = p | beam.Create(bad).with_output_types(BadCsvRow) | WriteBadRows(str(path))
        assert_that(found, equal_to([("X", 2), ("Y", 1)]))
    assert path.read_text() == 'file,line,code,detail,text\na,9,Y,d,\na,10,X,d,"one,""two""\nthree"\nb,2,X,,3\n'


def test_no_bad_rows_are_a_header(tmp_path: Path, make_pipeline: MakePipeline) -> None:
    path = tmp_path / "bad.csv"
    with make_pipeline() as p:
        none = (
            p
            | beam.Create([BadCsvRow("a", 1, "X", "", "")]).with_output_types(BadCsvRow)
            | beam.Filter(lambda _: False)
        )
        assert_that(none | WriteBadRows(str(path)), equal_to([]))
    assert path.read_text() == "file,line,code,detail,text\n"


def test_a_line_of_fields_reads_back(tmp_path: Path) -> None:
    form = CsvFormat(delimiter=";", quote="'", columns=("a", "b"), header=False)
    fields = ["it's", "one;two\nthree"]
    path = write(tmp_path / "a.csv", csv_line(fields, form))
    assert read(path, form) == [(1, fields)]
