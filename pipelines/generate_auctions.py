"""Generate: a seeded stream of items, bids and accounts, honest people and cheats, bids at the bell and bad records, for `auctions`.

settings → generate and write the file, whole, on one worker → `<output>.truth.json`: what was planted; `.geo.csv`: where networks lie.
Equal flags give equal bytes, whatever the runner. Flags, outputs and failures: docs/pipelines/generate_auctions.md.
"""

import argparse
import json
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apache_beam as beam

from auctions.generator import STRENGTHS, Generation, Settings
from auctions.geography import write_geo_ip
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.engine import run_job
from pipelines.files import publish_file
from pipelines.generate_payments import parse_instant
from transforms.record_files import write_record_file
from transforms.whole_files import whole_file

_NAMES = ("auctions", "sellers", "bidders", "seed", "cheats", "strength")
_SHARES = {
    "backed": "share of auctions that want money behind bids",
    "reserve": "share of auctions with a reserve",
    "buy_now": "share of auctions with a buy-now price",
    "cancelled": "share of auctions that are taken back",
    "bell": "share of auctions with bids just before, at and after the end",
    "poor": "share of people with too little money",
    "bad": "share of bad records",
}
ENDINGS = ("truth.json", "geo.csv")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def settings_for(auctions: int, seed: int = 1) -> Settings:
    """A market of so many auctions with people in proportion to them. ValueError for a number that cannot be."""
    sellers = max(2, auctions * 2 // 25)
    return Settings(
        auctions=auctions, seed=seed, sellers=sellers, bidders=max(40, auctions * 8 // 5), cheats=min(6, sellers // 4)
    )


SMALL = settings_for(100)
"""What the pipeline `auctions` generates by default."""


class GenerateOptions(JobOptions):
    """A seeded stream of a market's items, bids and accounts."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        default = Settings()
        parser.add_argument("--output", required=True, help="Avro container of raw records to write, NAME.avro")
        parser.add_argument("--auctions", type=int, default=default.auctions, help="how many auctions")
        parser.add_argument("--sellers", type=int, default=default.sellers, help="how many people sell")
        parser.add_argument("--bidders", type=int, default=default.bidders, help="how many people bid")
        parser.add_argument("--seed", type=int, default=default.seed, help="another seed gives another stream")
        parser.add_argument("--cheats", type=int, default=default.cheats, help="cheats of each kind")
        parser.add_argument(
            "--strength", choices=sorted(STRENGTHS), default=default.strength, help="how often a cheat acts as one"
        )
        for name, what in _SHARES.items():
            parser.add_argument(f"--{name}", type=float, default=getattr(default, name), help=what)
        parser.add_argument(
            "--start",
            default=(_EPOCH + timedelta(milliseconds=default.start_ms)).isoformat(),
            help="first time of append, ISO 8601",
        )


def settings_of(options: GenerateOptions) -> Settings:
    """UsageError for a value that is out of range."""
    try:
        given = {name: getattr(options, name) for name in (*_NAMES, *_SHARES)}
        return Settings(start_ms=parse_instant(options.start), **given)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def build_pipeline(p: beam.Pipeline, settings: Settings, output: str, truth: str, geo: str) -> beam.PCollection:
    """One element with the settings makes all files; gives (path of the container, number of records)."""
    return (
        p
        | "Settings" >> beam.Create([json.dumps(asdict(settings))], reshuffle=False).with_output_types(str)
        | "Generate" >> beam.Map(write_stream, output, truth, geo).with_output_types(tuple[str, int])
    )


def write_stream(settings: str, output: str, truth: str, geo: str) -> tuple[str, int]:
    """Writes the stream of the settings (JSON), then its truth and the table of networks."""
    generation = Generation(Settings(**json.loads(settings)))
    count = write_record_file(output, iter(generation))
    with whole_file(truth, "w", encoding="utf-8") as file:
        json.dump(generation.truth(), file, indent=2)
        file.write("\n")
    write_geo_ip(Path(geo))
    return output, count


def describe(truth: dict[str, Any]) -> str:
    """The printed summary."""
    faults = sum(fault["count"] for fault in truth["faults"].values())
    return (
        f"{truth['records']:,} records: {truth['items']:,} items, {truth['bids']:,} bids, {truth['accounts']:,} accounts, "
        f"{truth['retractions']:,} retractions, {faults:,} bad records of {len(truth['faults'])} kinds, "
        f"{len(truth['cheats'])} cheats"
    )


def run(argv: list[str]) -> None:
    options = parse_options(argv, GenerateOptions)
    if not options.output.endswith(".avro"):
        raise UsageError("the name must end with .avro", f"--output {options.output}")
    settings = settings_of(options)
    beside = [f"{options.output}.{end}" for end in ENDINGS]
    with ExitStack() as stack:
        truth, geo, output = (str(stack.enter_context(publish_file(name))) for name in (*beside, options.output))
        run_job(options, lambda p: build_pipeline(p, settings, output, truth, geo))
        summary = describe(json.loads(Path(truth).read_text(encoding="utf-8")))
    print(summary)
    print(f"written: {options.output}, {', '.join(beside)}")


if __name__ == "__main__":
    main(run)
