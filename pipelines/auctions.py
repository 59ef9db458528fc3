"""Auctions, the whole story: items, bids and accounts to decisions, settlement, mails, analytics, fraud and a report, in one folder.

generate (without --input) → one in-memory loop of all stages of payments and auctions → topics on disk → checkers → mails → views → report.
Exit status 1 when an invariant does not hold. Flags, outputs and failures: docs/pipelines/auctions.md.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam

from auctions import intake, topics
from auctions.administration import RULED
from auctions.generator import Settings
from auctions.truth import differences
from payments import intake as payment_intake
from payments import topics as payment_topics
from pipelines import auction_mailer, auction_stages, auction_views, generate_auctions, payment_views, payments
from pipelines.auction_quality import back_test_ads, judge_signals
from pipelines.auction_stages import Rules, loop_stages, rules_of
from pipelines.auctions_verify import verify
from pipelines.common import JobOptions, UsageError, check_range, main, parse_options
from pipelines.engine import engine_name, run_job
from pipelines.files import check_apart, check_inputs, publish_folder
from pipelines.registry import REGISTRY
from report.facts import AuctionFacts, RunFacts
from report.page import write_report
from report.views import open_views
from schemas.auctions import BidDecision, BidPlaced
from schemas.rails import DeadLetter, Record, Rule, Tick
from transforms.breaker import BreakOnRatio, CountShards
from transforms.chunks import CHUNK_RECORDS, unpack_chunk
from transforms.errors import BadRecord
from transforms.fold import DEAD_LETTERS
from transforms.in_memory import RunInMemory
from transforms.lines import WriteLines
from transforms.loop import Loop
from transforms.record_files import ReadRecords
from transforms.topic_files import read_topic
from transforms.topic_settings import DAY_MS

ALL = tuple(dict.fromkeys((*payment_topics.ALL, *auction_stages.ALL)))
TICKED = (payment_topics.INFLIGHT, payment_topics.STATUS, *auction_stages.TICKED)
RAW = ("raw.avro", *(f"raw.avro.{end}" for end in generate_auctions.ENDINGS))
SHOWN = 10  # violations on the terminal


class AuctionsOptions(JobOptions):
    """Auctions from items, bids and accounts to the report; without --input they are generated, from a seed."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        default = generate_auctions.SMALL
        parser.add_argument(
            "--input", default="", help="items, bids and accounts of your own: files, folders or globs, by commas"
        )
        parser.add_argument("--output", default="out-auctions", help="folder for everything; replaced whole")
        parser.add_argument("--auctions", type=int, default=default.auctions, help="auctions to generate")
        parser.add_argument("--seed", type=int, default=default.seed, help="seed of what is generated")
        parser.add_argument("--hop_ms", type=int, default=5, help="log time that each hop takes, ms")
        parser.add_argument(
            "--tick_ms", type=int, default=0, help="interval of ticks, ms; 0: one second, more for long inputs"
        )
        parser.add_argument("--max_bad", type=float, default=0.5, help="share of dead letters at which the job stops")
        parser.add_argument("--chunk_records", type=int, default=CHUNK_RECORDS, help="records of an input chunk")
        auction_stages.add_rules(parser)
        auction_views.ViewsOptions.add_cells(parser)
        parser.add_argument(
            "--outbox", default="", help="folder that remembers what was mailed; in the output by default"
        )
        auction_mailer.MailerOptions.add_post(parser)


def client_key(event: object) -> str | None:
    """The key of any client's event on its topic."""
    return intake.client_key(event) or payment_intake.client_key(event)


def client_time(event: object) -> int:
    """The time (ms) that stands in a client's event, -1 for one without."""
    if isinstance(event, BidPlaced):
        return event.sent_at
    return event.at if isinstance(event, Tick) else payment_intake.client_time(event)


def entry(record: Record) -> Iterable[tuple[str, int]]:
    """Where a client's record is appended; thresholds of fraud on every partition of the topics whose stages have them."""
    try:
        event = REGISTRY.decode(record.value or b"")
    except BadRecord:
        event = None
    if isinstance(event, Rule) and event.name.startswith("fraud."):
        return [(topic.name, number) for topic in RULED for number in range(topic.partitions)]
    if event is None or intake.client_topic(event) is not None:
        return intake.client_places(event, record.key)
    return payments.entry(record)


def loop_maker(options: JobOptions, rules: Rules) -> Callable[[int], Loop]:
    """Builds the loop on the worker; the tick interval may depend on how long the input lasts."""
    hop_ms, tick_ms = options.hop_ms, options.tick_ms

    def make_loop(span_ms: int) -> Loop:
        every = tick_ms or max(1000, span_ms // payments.MAX_TICKS)
        return Loop([*payments.stages(), *loop_stages(rules)], REGISTRY, entry, TICKED, hop_ms, every)

    return make_loop


def build_pipeline(p: beam.Pipeline, options: JobOptions, rules: Rules, inputs: list[str], folder: Path) -> None:
    """`inputs` are raw records; `folder` gets `topics/` and `shards.jsonl`, one line per shard."""
    shards = (
        p
        | "ReadInputs" >> ReadRecords(inputs, REGISTRY, client_time, client_key, options.chunk_records)
        | "RunAuctions" >> RunInMemory(loop_maker(options, rules), ALL, str(folder / "topics"))
    )
    _ = shards | "WriteShards" >> WriteLines(str(folder / "shards.jsonl"))
    _ = shards | "CountShards" >> CountShards() | "Break" >> BreakOnRatio(options.max_bad)


def check_flags(options: JobOptions) -> None:
    """UsageError for a flag that is out of range."""
    check_range(options, hop_ms=(0, DAY_MS), tick_ms=(0, DAY_MS), chunk_records=(1, payments.MAX_CHUNK_RECORDS))
    if not 0 <= options.max_bad <= 1:
        raise UsageError(f"must lie between 0 and 1, got {options.max_bad}", "--max_bad")


def run(argv: list[str]) -> int:
    options = parse_options(argv, AuctionsOptions)
    check_flags(options)
    auction_views.check_flags(options)
    rules = rules_of(options)
    inputs = check_inputs(options.input) if options.input else []
    check_apart([options.output, *filter(None, [options.outbox])], options.input)
    settings = _settings(options)
    auction_mailer.post_of(options, options.outbox or options.output)
    started = time.monotonic()
    with publish_folder(options.output) as folder:
        truth = folder / RAW[1]
        if not inputs:
            raw, geo = str(folder / RAW[0]), str(folder / RAW[2])
            run_job(options, lambda p: generate_auctions.build_pipeline(p, settings, raw, str(truth), geo), "generate")
            inputs, rules = [raw], replace(rules, geo=rules.geo or geo)
        begun = time.monotonic()
        run_job(options, lambda p: build_pipeline(p, options, rules, inputs, folder), "auctions")
        seconds = time.monotonic() - begun
        violations = verify(options, folder)
        if not options.input and not options.tick_ms:
            violations += against_truth(folder, truth)
        post = auction_mailer.post_of(options, options.outbox or folder / "outbox")
        run_job(options, lambda p: auction_mailer.build_pipeline(p, folder / "topics", post), "mails")
        mails = auction_mailer.counts_of(post.outbox)
        ads = back_test_ads(folder / "topics")
        violations += ads.wrong
        signals = None if options.input else judge_signals(folder / "topics", truth)
        database = folder / "views.duckdb"
        run_job(options, lambda p: payment_views.build_pipeline(p, folder / "topics", database), "payment views")
        window_ms = options.window_days * DAY_MS
        run_job(
            options,
            lambda p: auction_views.build_pipeline(p, folder / "topics", database, options.k, window_ms),
            "auction views",
        )
        facts = RunFacts(
            title="Auctions",
            source=options.input or f"{settings.auctions:,} generated auctions",
            seed=None if options.input else settings.seed,
            hop_ms=options.hop_ms,
            seconds=max(0.1, round(seconds, 1)),
            engine=engine_name(options),
        )
        tried = [(name, *result) for name, result in ads.results.items()]
        checks = write_report(
            database, folder / "report.html", facts, violations, AuctionFacts(mails, tried, signals)
        )
        violations += [f"{check.name}: {check.evidence}" for check in checks if not check.holds]
        with open_views(database) as db:
            lines = summary(db, seconds)
    print("\n".join([*lines, auction_mailer.describe(mails)]))
    print(
        f"invariants: {len(violations)} VIOLATED" if violations else "invariants: all hold, money per person among them"
    )
    for line in violations[:SHOWN]:
        print(f"  {line}")
    named = f"report.html, views.duckdb, topics/, shards.jsonl{'' if options.outbox else ', outbox/'}"
    print(f"outputs in {options.output}: {named}{'' if options.input else ', raw.avro'}")
    print(f"done in {time.monotonic() - started:.0f} s")
    return 1 if violations else 0


def against_truth(folder: Path, truth: Path) -> list[str]:
    """What became of planted faults and bids at the bell otherwise than the generator says."""
    names = (topics.HISTORY.name, DEAD_LETTERS.name)
    chunks = (chunk for name in names for chunk in read_topic(folder / "topics", name))
    found = (REGISTRY.decode(record.value or b"") for chunk in chunks for record in unpack_chunk(chunk))
    events = (
        event
        for event in found
        if isinstance(event, BidDecision) or (isinstance(event, DeadLetter) and event.stage.startswith("auction"))
    )
    return differences(json.loads(truth.read_text(encoding="utf-8")), events)


def summary(db: Any, seconds: float) -> list[str]:
    """The figures that the terminal shows."""

    def rows(query: str) -> list[tuple[Any, ...]]:
        return list(db.execute(query).fetchall())

    (bids,) = rows("SELECT COUNT(*) FROM decisions WHERE NOT automatic")[0]
    lines = [f"auctions: {bids:,} bids and retractions decided in {seconds:.1f} s"]
    outcomes = rows("SELECT COALESCE(outcome, 'OPEN'), COUNT(*) FROM auctions GROUP BY 1 ORDER BY 2 DESC, 1")
    lines.append(f"outcomes: {', '.join(f'{name} {n:,}' for name, n in outcomes) or 'none'}")
    (unpaid,) = rows("SELECT COUNT(*) FROM auctions WHERE unpaid > 0")[0]
    if unpaid:
        lines.append(f"sold but not paid: {unpaid:,}")
    statuses = rows("SELECT status, COUNT(*) FROM decisions WHERE NOT automatic GROUP BY 1 ORDER BY 2 DESC, 1")
    lines += [f"  {status:<24} {n:>9,}" for status, n in statuses]
    alerts = rows("SELECT signal, COUNT(*) FROM alerts GROUP BY 1 ORDER BY 2 DESC, 1")
    lines.append(f"cheats: {', '.join(f'{name} {n:,}' for name, n in alerts) or 'none found'}")
    return lines


def _settings(options: AuctionsOptions) -> Settings:
    try:
        return generate_auctions.settings_for(options.auctions, options.seed)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


if __name__ == "__main__":
    main(run)
