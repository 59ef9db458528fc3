"""Generate: a seeded stream of payments with faults planted in it, as one file that the pipeline `payments` takes.

settings → generate and write the file, whole, on one worker → `<output>.truth.json`: what was planted, and what must become of it.
Equal flags give equal bytes, whatever the runner. Flags, outputs and failures: docs/pipelines/generate_payments.md.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import apache_beam as beam

from payments.generator import START_MS, Generation, Settings
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.engine import run_job
from pipelines.files import publish_file
from schemas.rails import Record
from transforms.progress import Progress
from transforms.record_files import write_record_file
from transforms.whole_files import whole_file

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEP = 1_000  # records between two looks at the clock


class GenerateOptions(JobOptions):
    """A seeded stream of payments with planted faults."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        default = Settings()
        parser.add_argument("--output", required=True, help="Avro container of raw records to write, NAME.avro")
        parser.add_argument(
            "--payments", type=int, default=default.payments, help="how many payments, bad ones among them"
        )
        parser.add_argument("--accounts", type=int, default=default.accounts, help="how many accounts")
        parser.add_argument("--seed", type=int, default=default.seed, help="another seed gives another stream")
        parser.add_argument("--rate", type=int, default=default.rate, help="payments per second of log time")
        parser.add_argument(
            "--skew", type=float, default=default.skew, help="0: all accounts alike; 1: the n-th has a weight of 1/n"
        )
        parser.add_argument("--bad", type=float, default=default.bad, help="share of planted faults")
        parser.add_argument("--duplicates", type=float, default=default.duplicates, help="share of repeats")
        parser.add_argument(
            "--disorder_ms",
            type=int,
            default=default.disorder_ms,
            help="most that a claimed time lies before the append, ms",
        )
        parser.add_argument(
            "--start",
            default=(_EPOCH + timedelta(milliseconds=START_MS)).isoformat(),
            help="first time of append, ISO 8601",
        )


def settings_of(options: GenerateOptions) -> Settings:
    """UsageError for a value that is out of range."""
    names = ("payments", "accounts", "seed", "rate", "skew", "bad", "duplicates", "disorder_ms")
    try:
        return Settings(start_ms=parse_instant(options.start), **{name: getattr(options, name) for name in names})
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def parse_instant(text: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 date or time; UTC where it names no zone. ValueError otherwise."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"start is no ISO 8601 time: {text!r}") from None
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


def build_pipeline(p: beam.Pipeline, settings: Settings, output: str, truth: str) -> beam.PCollection:
    """One element with the settings makes both files; gives (path of the container, number of records)."""
    return (
        p
        | "Settings" >> beam.Create([json.dumps(asdict(settings))], reshuffle=False).with_output_types(str)
        | "Generate" >> beam.Map(write_stream, output, truth).with_output_types(tuple[str, int])
    )


def write_stream(settings: str, output: str, truth: str) -> tuple[str, int]:
    """Writes the stream of the settings (JSON), then its truth."""
    generation = Generation(Settings(**json.loads(settings)))
    count = write_record_file(output, _counted(generation))
    with whole_file(truth, "w", encoding="utf-8") as file:
        json.dump(generation.truth(), file, indent=2)
        file.write("\n")
    return output, count


def _counted(generation: Generation) -> Iterator[Record]:
    with Progress(generation.settings.payments, "payments", "generate") as progress:
        for number, record in enumerate(generation, 1):
            yield record
            if number % _STEP == 0:
                progress.update(generation.payments - progress.done)
        progress.update(generation.payments - progress.done)


def describe(truth: dict[str, Any]) -> str:
    """The printed summary."""
    faults = sum(fault["count"] for fault in truth["planted"].values())
    return (
        f"{truth['records']:,} records: {truth['payments']:,} payments over {truth['accounts']:,} accounts, "
        f"{faults:,} of them planted faults of {len(truth['planted'])} kinds, {truth['duplicates']:,} repeats"
    )


def run(argv: list[str]) -> None:
    options = parse_options(argv, GenerateOptions)
    if not options.output.endswith(".avro"):
        raise UsageError("the name must end with .avro", f"--output {options.output}")
    settings = settings_of(options)
    beside = f"{options.output}.truth.json"
    with publish_file(beside) as truth, publish_file(options.output) as output:
        run_job(options, lambda p: build_pipeline(p, settings, str(output), str(truth)))
        summary = describe(json.loads(truth.read_text(encoding="utf-8")))
    print(summary)
    print(f"written: {options.output}, {beside}")


if __name__ == "__main__":
    main(run)
