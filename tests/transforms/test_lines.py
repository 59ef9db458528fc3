import random
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows

from tests.proto import assert_no_pickled_coders
from transforms.errors import one_line
from transforms.lines import PrintLines, WriteLines, write_lines


def run(make_pipeline, path: Path, lines: list, kind: type) -> None:
    with make_pipeline() as p:
        given = p | beam.Create(lines, reshuffle=False).with_output_types(kind)
        written = given | WriteLines(path)
        assert_no_pickled_coders(p)
        assert_that(written, equal_to([(str(path), len(lines))]))


def test_lines_are_sorted_by_their_bytes(tmp_path: Path, make_pipeline) -> None:
    lines = ["b", "", "a\x01", "a", "é", "", "B", "a b"]
    golden = b"\n\nB\na\na\x01\na b\nb\n\xc3\xa9\n"
    for _ in range(2):
        random.Random(4).shuffle(lines)
        run(make_pipeline, tmp_path / "out" / "lines.txt", lines, str)
        assert (tmp_path / "out" / "lines.txt").read_bytes() == golden
    run(make_pipeline, tmp_path / "bytes.txt", [line.encode() for line in lines], bytes)
    assert (tmp_path / "bytes.txt").read_bytes() == golden


@pytest.mark.parametrize("kind", [str, bytes])
def test_no_lines_make_an_empty_file_in_place_of_an_old_one(tmp_path: Path, make_pipeline, kind: type) -> None:
    (tmp_path / "lines.txt").write_text("old\n")
    run(make_pipeline, tmp_path / "lines.txt", [], kind)
    assert (tmp_path / "lines.txt").read_bytes() == b""
    assert [path.name for path in tmp_path.iterdir()] == ["lines.txt"]


def test_lines_in_windows_go_to_the_one_file(tmp_path: Path, make_pipeline) -> None:
    with make_pipeline() as p:
        stamped = p | beam.Create([1, 100]) | beam.Map(lambda n: beam.window.TimestampedValue(str(n), n))
        windowed = stamped | beam.WindowInto(FixedWindows(10)) | beam.Map(str).with_output_types(str)
        windowed | WriteLines(tmp_path / "lines.txt")
    assert (tmp_path / "lines.txt").read_text() == "1\n100\n"


def test_a_line_with_a_line_break_is_refused_and_the_old_file_stays(tmp_path: Path, make_pipeline) -> None:
    (tmp_path / "lines.txt").write_text("old\n")
    with pytest.raises(Exception, match="holds a line break"), make_pipeline() as p:
        p | beam.Create(["a", "b\nc"]) | WriteLines(tmp_path / "lines.txt")
    assert (tmp_path / "lines.txt").read_text() == "old\n"


def test_nothing_appears_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_lines(tmp_path / "lines.txt", (b"%d" % (1 // n) for n in (1, 0)))
    assert list(tmp_path.iterdir()) == []


def test_a_path_must_name_a_file() -> None:
    with pytest.raises(ValueError, match="not the path of a file: ''"):
        WriteLines("")


def test_lines_on_standard_output(make_pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    with make_pipeline() as p:
        given = p | beam.Create([b"a", b"b\nc", b"\xff"], reshuffle=False).with_output_types(bytes)
        printed = given | PrintLines("> ")
        assert_no_pickled_coders(p)
        assert printed.element_type is bytes
        assert_that(printed, equal_to([b"a", b"b\nc", b"\xff"]))
    assert capsys.readouterr().out == "> a\n> b\\nc\n> \\xff\n"


def test_any_elements_are_printed_also_of_endless_sources(make_pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    from apache_beam.testing.test_stream import TestStream

    with make_pipeline(engine="BundleBasedDirectRunner") as p:
        p | TestStream().add_elements([1, 2]).advance_watermark_to_infinity() | PrintLines()
    assert sorted(capsys.readouterr().out.split()) == ["1", "2"]


def test_one_line() -> None:
    assert one_line("plain žluť, 5 €") == "plain žluť, 5 €"
    assert one_line("a\nb\x85\u2029\ud800\x00\t") == r"a\nb\x85\u2029\ud800\x00\t"
    text = "".join(map(chr, range(0x3000)))
    assert len(one_line(text).splitlines()) == 1
