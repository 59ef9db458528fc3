"""Report: one self-contained HTML page of a views database: totals, money, trial balance, latency, dead letters, checks.

database of payment_views → page. No Beam graph: SQL reads some thousand figures. Flags, contents and failures: docs/pipelines/report.md.
"""

import argparse
import sys

from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.files import check_apart, check_inputs, publish_file
from report.facts import RunFacts
from report.page import write_report
from report.views import NoViews


class ReportOptions(JobOptions):
    """A page with pictures out of the payment views."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--input", required=True, help="database of payment_views, DuckDB or SQLite")
        parser.add_argument("--output", required=True, help="HTML file; replaced whole")
        parser.add_argument("--title", default=RunFacts.title, help="heading of the page")
        parser.add_argument("--source", help="what the run read, as the page should name it")
        parser.add_argument("--seed", type=int, help="seed of a generated input")
        parser.add_argument("--hop_ms", type=int, help="log time that each hop took in a simulated run, ms")
        parser.add_argument("--seconds", type=float, help="how long the run took by the wall clock, s")
        parser.add_argument("--engine", help="what ran it")


def facts_of(options: ReportOptions) -> RunFacts:
    """What the flags say of the run. Raises UsageError for a value that cannot be."""
    names = ("title", "source", "seed", "hop_ms", "seconds", "engine")
    try:
        return RunFacts(**{name: getattr(options, name) for name in names})
    except ValueError as error:
        name, _, what = str(error).partition(": ")
        raise UsageError(what, f"--{name}") from error


def run(argv: list[str]) -> int:
    """Exit status 1 when a check fails; the page, which says so, is written all the same."""
    options = parse_options(argv, ReportOptions)
    facts = facts_of(options)
    inputs = check_inputs(options.input)
    if len(inputs) > 1:
        raise UsageError(f"one database is read, and there are {len(inputs)}", options.input)
    check_apart([options.output], inputs)
    with publish_file(options.output) as page:
        try:
            checks = write_report(inputs[0], page, facts)
        except NoViews as error:
            raise UsageError(str(error), inputs[0]) from error
    failed = [check for check in checks if not check.holds]
    for check in failed:
        print(f"report: check failed: {check.name}: {check.evidence}", file=sys.stderr)
    print(f"written: {options.output}, {len(checks) - len(failed)} of {len(checks)} checks hold")
    return 1 if failed else 0


if __name__ == "__main__":
    main(run)
