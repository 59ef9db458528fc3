"""What the comparisons share: each side keeps its results for a check that they are the same, and is timed as a whole run."""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam


def keep(results: Any, path: Path | None, line: Callable[[Any], str] = json.dumps) -> None:
    """Writes results as lines of text, if they are wanted."""
    if path is not None:
        lines = results | "AsLine" >> beam.Map(line).with_output_types(str)
        _ = lines | beam.io.WriteToText(str(path), num_shards=1, shard_name_template="")


def check_same(directory: Path, *runs: Callable[[Path], None]) -> int:
    """Runs all sides, each into a file of its own, and compares all their lines in any order; gives how many there are."""
    found = []
    for number, run in enumerate(runs):
        path = directory / f"side-{number}.jsonl"
        path.unlink(missing_ok=True)
        run(path)
        found.append(sorted(path.read_text(encoding="utf-8").splitlines()))
    if any(lines != found[0] for lines in found):
        raise AssertionError(f"results differ: {' and '.join(str(len(lines)) for lines in found)} of them")
    return len(found[0])


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock time of one run."""
    gc.collect()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def medians(
    write: Callable[[Path, int], Any], ours: Callable[..., Any], theirs: Callable[..., Any], repeats: int, records: int
) -> tuple[float, float]:
    """Median seconds of ours and of theirs, in turns, over what `write(directory, records)` puts there; both must give the same results."""
    if repeats < 1 or records < 1:
        raise ValueError(f"repeats and records must be at least 1, got {repeats} and {records}")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write(directory, records)
        check_same(directory, *(partial(run, directory) for run in (ours, theirs)))
        found: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats):
            for run, times in zip((ours, theirs), found, strict=True):
                times.append(seconds(partial(run, directory)))
    return statistics.median(found[0]), statistics.median(found[1])


def print_rows(
    measure: Callable[[int, int], list[dict[str, Any]]], title: str, records: int, argv: Sequence[str] | None = None
) -> None:
    """The command of a benchmark: its rows as JSON."""
    parser = argparse.ArgumentParser(description=title.splitlines()[0])
    parser.add_argument("--records", type=int, default=records)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(argv)
    json.dump(measure(args.repeats, args.records), sys.stdout, indent=1, ensure_ascii=False)
    print()
