"""Payments end to end, replay, and balances out of the journal: `python -m bench.payments`.

Everything runs on the in-process engine with one worker, from files to files. The start of the pipeline is included; that of the
interpreter and the generation of the input are not. The work has no peer to stand beside: the rows are absolute, and depend on the
machine and its load.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from bench.side_by_side import seconds
from payments import topics
from payments.generator import Generation, Settings
from pipelines import payments, payments_replay
from pipelines.engine import make_pipeline
from pipelines.registry import REGISTRY
from schemas import load_schema
from schemas.payments import LedgerEntry
from transforms.aggregates import Max
from transforms.chunks import unpack_chunk
from transforms.lines import WriteLines
from transforms.record_files import write_record_file
from transforms.rows import FieldRows
from transforms.topic_files import ReadTopic, read_topic
from transforms.windows import AggregateByWindow, Fixed, WindowRow

PAYMENTS, ACCOUNTS = 50_000, 1_000
ALL_TIME_MS = 100 * 366 * 86_400_000  # one window


def generate(path: Path, count: int, accounts: int = ACCOUNTS) -> None:
    """The input: the generator's stream with its 2 % of faults."""
    write_record_file(str(path), Generation(Settings(payments=count, accounts=accounts)))


def run_payments(raw: Path, folder: Path) -> None:
    """The pipeline `payments`, from the raw file to all topics."""
    options = payments.PaymentsOptions([f"--input={raw}", f"--output={folder}"])
    pipeline = make_pipeline(options)
    payments.build_pipeline(pipeline, options, [str(raw)], folder)
    pipeline.run().wait_until_finish()


def run_replay(topics_folder: Path, folder: Path) -> None:
    """The pipeline `payments_replay`: fold the recorded log again, and compare."""
    options = payments_replay.ReplayOptions([f"--input={topics_folder}", f"--output={folder}"])
    pipeline = make_pipeline(options)
    payments_replay.build_pipeline(pipeline, options, folder)
    pipeline.run().wait_until_finish()
    if (folder / "differences.txt").read_text(encoding="utf-8"):
        raise RuntimeError("the replay differs")


def run_balances(topics_folder: Path, lines: Path | None = None) -> None:
    """The newest entry of each account in the journal, by its version: the balances, rebuilt; with `lines`, as JSON."""
    frame = int.from_bytes(REGISTRY.frame(LedgerEntry)[1:], "big")
    schema = load_schema("payments.LedgerEntry")
    rows = FieldRows({frame: schema}, key="account_id", time="at", value=("version", "balance", "pending"))
    pipeline = make_pipeline(PipelineOptions([]))
    balances = (
        pipeline
        | "Read" >> ReadTopic(topics_folder, topics.JOURNAL.name)
        | "Rebuild" >> AggregateByWindow(rows, Fixed(ALL_TIME_MS), Max())
    ).results
    if lines is not None:
        _ = balances | "AsLine" >> beam.Map(_line).with_output_types(str) | "Keep" >> WriteLines(str(lines))
    pipeline.run().wait_until_finish()


def _line(row: WindowRow) -> str:
    return json.dumps([row.key, *row.value])


def check_balances(topics_folder: Path) -> None:
    """The rebuilt balances are those that the processor published."""
    lines = topics_folder.parent / "balances.jsonl"
    run_balances(topics_folder, lines)
    rebuilt = {key: tuple(values) for key, *values in map(json.loads, lines.read_text(encoding="utf-8").splitlines())}
    published = {}
    for chunk in read_topic(topics_folder, topics.BALANCES.name):
        for record in unpack_chunk(chunk):
            state = REGISTRY.decode(record.value or b"")
            if state.version:
                published[state.account_id] = (state.version, state.balance, state.debits_pending)
    if rebuilt != published:
        raise RuntimeError("the rebuilt balances are not the published ones")


def measure(repeats: int = 5, count: int = PAYMENTS) -> list[dict[str, Any]]:
    """Rows {name, unit, value, baseline, ratio, floor, aim, floor_is}: medians of `repeats` rounds that take turns."""
    with tempfile.TemporaryDirectory(prefix="bench-payments-") as place:
        root = Path(place)
        raw, first = root / "raw.avro", root / "run"
        generate(raw, count)
        first.mkdir()
        run_payments(raw, first)
        check_balances(first / "topics")
        inflight = _count(first / "topics", topics.INFLIGHT.name)
        entries = _count(first / "topics", topics.JOURNAL.name)
        works: list[tuple[str, str, int, Callable[[Path], None], int, int]] = [
            ("payments end to end (simulate)", "payments/s", count, lambda to: run_payments(raw, to), 10_000, 20_000),
            (
                "replay of the recorded in-flight log",
                "payments/s",
                count,
                lambda to: run_replay(first / "topics", to),
                10_000,
                25_000,
            ),
            (
                "balances from the journal",
                "entries/s",
                entries,
                lambda to: run_balances(first / "topics"),
                80_000,
                250_000,
            ),
        ]
        times: dict[str, list[float]] = {name: [] for name, *_ in works}
        for turn in range(repeats):
            for name, _, _, run, _, _ in works:
                to = root / f"{turn}-{len(times[name])}-{name[:6]}"
                to.mkdir()
                times[name].append(seconds(partial(run, to)))
    rows = []
    for name, unit, amount, _, floor, aim in works:
        value = amount / statistics.median(times[name])
        rows.append(
            {"name": name, "unit": unit, "value": round(value), "baseline": None, "ratio": None}
            | {"floor": floor, "aim": aim, "floor_is": "value"}
        )
    rows[1]["note"] = f"{inflight} in-flight records, folded and everything regenerated compared"
    return rows


def _count(folder: Path, topic: str) -> int:
    return sum(chunk.count for chunk in read_topic(folder, topic))


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--payments", type=int, default=PAYMENTS)
    args = parser.parse_args(argv)
    for row in measure(args.repeats, args.payments):
        print(f"{row['name']:<40} {row['value']:>10,} {row['unit']} (floor {row['floor']:,}, aim {row['aim']:,})")


if __name__ == "__main__":
    main(sys.argv[1:])
