"""Text lines: to one file, the same for any bundling, or to standard output as they come."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from transforms.whole_files import whole_file


class WriteLines(beam.PTransform):
    """PCollection[str] or PCollection[bytes], bounded → PCollection[tuple[str, int]]: one text file; gives (path, number of lines).

    Strings are written as UTF-8. The lines are sorted by their bytes, so the file is the same for any bundling, and it is written (empty)
    for an empty input too. It appears whole, by rename; a retried bundle writes it again. All lines pass through one worker and its
    memory: this is for summaries and reports, not for topics. A line that holds a line break stops the job with a ValueError.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        if not Path(path).name:
            raise ValueError(f"WriteLines: not the path of a file: {str(path)!r}")
        self.path = str(path)

    def expand(self, lines: Any) -> Any:
        path = self.path

        def write(group: tuple[int, Iterable[bytes]]) -> tuple[str, int]:
            return path, write_lines(path, (line[1:] for line in sorted(group[1]) if line))

        marked = (
            lines
            | "Global" >> beam.WindowInto(GlobalWindows())
            | "Encode" >> beam.Map(_marked).with_output_types(bytes)
        )
        # The element that makes a file of no lines.
        empty = lines.pipeline | "Empty" >> beam.Create([b""], reshuffle=False).with_output_types(bytes)
        return (
            (marked, empty)
            | "WithEmpty" >> beam.Flatten()
            | "Together" >> beam.Map(_together).with_output_types(tuple[int, bytes])
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.Map(write).with_output_types(tuple[str, int])
        )


def write_lines(path: str | Path, lines: Iterable[bytes]) -> int:
    """Writes the lines in the order given as one whole file; gives their number."""
    count = 0
    with whole_file(path) as file:
        for line in lines:
            file.write(line + b"\n")
            count += 1
    return count


def _marked(line: str | bytes) -> bytes:
    """A line as bytes behind a mark, so that an empty line differs from none."""
    raw = line.encode() if isinstance(line, str) else line
    if b"\n" in raw:
        raise ValueError("WriteLines: a line holds a line break, which would make two of it")
    return b"\n" + raw


def _together(line: bytes) -> tuple[int, bytes]:
    return 0, line


class PrintLines(beam.PTransform):
    """PCollection[T] → PCollection[T]: prints each element (`str`; bytes as UTF-8) as one line on standard output and passes it on.

    Bounded or not. Lines come in the order in which workers handle the elements: within a bundle in its order, between bundles in none;
    lines are never mixed with one another. A retried bundle prints its lines again (best effort: for eyes, not for programs; use
    `WriteLines` for those). Line breaks inside an element are printed as `\\n`. What a remote worker prints stands in its log.
    """

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.prefix = prefix

    def expand(self, elements: Any) -> Any:
        return elements | "Print" >> beam.ParDo(_Print(self.prefix)).with_output_types(elements.element_type)


class _Print(beam.DoFn):
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def process(self, element: Any) -> Iterator[Any]:
        text = element.decode("utf-8", "backslashreplace") if isinstance(element, bytes) else str(element)
        text = text.replace("\n", "\\n")
        sys.stdout.write(f"{self.prefix}{text}\n")
        yield element

    def finish_bundle(self) -> None:
        sys.stdout.flush()
