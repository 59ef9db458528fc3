"""What the comparisons share: each side keeps its results for a check that they are the same, and is timed as a whole run."""

import gc
import json
import time
from collections.abc import Callable
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
