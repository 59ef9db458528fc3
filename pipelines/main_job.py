"""The main job: payments from generated or own input to topics, views, checks and a report, in one folder.

generate (without --input) → payments → payment_views → payments_verify → report. Exit status 1 when an invariant does not hold.
Flags, outputs and failures: docs/pipelines/main_job.md.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from payments import topics
from payments.account import MEMORY_MS
from payments.currencies import format_minor
from payments.generator import Settings
from payments.truth import differences, outcomes
from pipelines import generate_payments, payment_views, payments, payments_verify
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.engine import engine_name, run_job
from pipelines.files import check_apart, check_inputs, publish_folder
from pipelines.registry import REGISTRY
from report.facts import RunFacts
from report.page import write_report
from report.views import open_views
from schemas.rails import Tick
from transforms import fold
from transforms.chunks import unpack_chunk
from transforms.topic_files import read_topic
from transforms.topic_settings import DAY_MS

MAX_TRUE_HOP_MS = 200  # the steps of a planted fault are farther apart: see docs/pipelines/generate_payments.md
SHOWN = 10  # violations on the terminal


class MainOptions(JobOptions):
    """Payments from raw input to the report; without --input the raw payments are generated, from a seed."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        default = Settings()
        parser.add_argument(
            "--input", default="", help="raw payments of your own: files, folders or globs, separated by commas"
        )
        parser.add_argument("--output", default="out", help="folder for everything; replaced whole")
        parser.add_argument("--payments", type=int, default=default.payments, help="payments to generate")
        parser.add_argument("--accounts", type=int, default=default.accounts, help="accounts to generate")
        parser.add_argument("--seed", type=int, default=default.seed, help="seed of what is generated")
        payments.PaymentsOptions.add_rules(parser)


def run(argv: list[str]) -> int:
    options = parse_options(argv, MainOptions)
    payments.check_rules(options)
    inputs = check_inputs(options.input) if options.input else []
    check_apart([options.output], options.input)
    settings = _settings(options)
    started = time.monotonic()
    with publish_folder(options.output) as folder:
        if not inputs:
            raw = folder / "raw.avro"
            truth = f"{raw}.truth.json"
            run_job(options, lambda p: generate_payments.build_pipeline(p, settings, str(raw), truth), "generate")
            inputs = [str(raw)]
        begun = time.monotonic()
        run_job(options, lambda p: payments.build_pipeline(p, options, inputs, folder), "payments")
        seconds = time.monotonic() - begun
        database = folder / "views.duckdb"
        run_job(options, lambda p: payment_views.build_pipeline(p, folder / "topics", database), "views")
        violations = payments_verify.verify(options, folder, options.ttl_ms)
        facts = RunFacts(
            title="Payments",
            source=options.input or f"{settings.payments:,} generated payments over {settings.accounts:,} accounts",
            seed=None if options.input else settings.seed,
            hop_ms=options.hop_ms,
            seconds=max(0.1, round(seconds, 1)),
            engine=engine_name(options),
        )
        if (
            not options.input
            and (options.ttl_ms, options.reversal_ms) == (DAY_MS, MEMORY_MS)
            and 1 <= options.hop_ms <= MAX_TRUE_HOP_MS
        ):
            violations += against_truth(folder)
        checks = write_report(database, folder / "report.html", facts, violations)
        violations += [f"{check.name}: {check.evidence}" for check in checks if not check.holds]
        with open_views(database) as db:
            lines = summary(db, seconds)
    print("\n".join(lines))
    print(
        f"invariants: {len(violations)} VIOLATED"
        if violations
        else f"invariants: all hold (checkers of the logs, {len(checks)} of the views)"
    )
    for line in violations[:SHOWN]:
        print(f"  {line}")
    place = Path(options.output)
    print(
        f"outputs in {place}: report.html, views.duckdb, topics/, shards.jsonl{'' if options.input else ', raw.avro'}"
    )
    print(f"done in {time.monotonic() - started:.0f} s")
    return 1 if violations else 0


def against_truth(folder: Path) -> list[str]:
    """What became of the planted faults otherwise than the generator says."""
    truth = json.loads((folder / "raw.avro.truth.json").read_text(encoding="utf-8"))
    names = (topics.STATUS.name, fold.DEAD_LETTERS.name)
    chunks = (chunk for name in names for chunk in read_topic(folder / "topics", name))
    events = (REGISTRY.decode(record.value or b"") for chunk in chunks for record in unpack_chunk(chunk))
    return differences(truth, *outcomes(event for event in events if not isinstance(event, Tick)))


def _settings(options: MainOptions) -> Settings:
    try:
        return Settings(payments=options.payments, accounts=options.accounts, seed=options.seed)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def summary(db: Any, seconds: float) -> list[str]:
    """The figures that the terminal shows: records, states with their reasons, dead letters, trial balance."""

    def rows(query: str) -> list[tuple[Any, ...]]:
        return list(db.execute(query).fetchall())

    incoming, duplicates = rows("SELECT incoming, duplicates FROM books")[0]
    rate = incoming / seconds if seconds > 0 else 0
    lines = [f"payments: {incoming:,} records in {seconds:.1f} s, {rate:,.0f} a second", "states:"]
    query = "SELECT status, COALESCE(reason, ''), COUNT(*) FROM payments GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
    lines += [f"  {status} {reason:<4} {count:>9,}" for status, reason, count in rows(query)]
    lines.append(f"repeated attempts: {duplicates:,}")
    letters = rows("SELECT code, COUNT(*) FROM dead_letters GROUP BY 1 ORDER BY 2 DESC, 1")
    lines.append(f"dead letters: {', '.join(f'{code} {count:,}' for code, count in letters) or 'none'}")
    query = """
        SELECT currency, SUM(accounts), SUM(in_transit), SUM(outside), SUM(total) FROM trial_balance GROUP BY currency ORDER BY currency"""
    lines.append("trial balance:")
    for currency, accounts, in_transit, outside, total in rows(query):
        parts = ", ".join(
            f"{name} {format_minor(int(minor), currency)}"
            for name, minor in (
                ("accounts", accounts),
                ("in transit", in_transit),
                ("outside", outside),
                ("total", total),
            )
        )
        lines.append(f"  {currency}: {parts}")
    return lines


if __name__ == "__main__":
    main(run)
