"""The flags by which the rules of payments are set: the same in every job that runs them, folds their logs again, or judges them.

What a log was folded with is part of it: other values decide otherwise.
"""

import argparse

from payments.account import MEMORY_MS
from pipelines.common import JobOptions, check_range
from transforms.topic_settings import DAY_MS

MAX_MS = 3650 * DAY_MS  # of what is remembered or waited for
_LEAST_REVERSAL_MS = 60_000  # far longer than a payment is under way


def add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ttl_ms", type=int, default=DAY_MS, help="how long payment ids are remembered, ms")
    parser.add_argument("--sla_ms", type=int, default=10_000, help="a payment still open after this is overdue, ms")
    add_reversal(parser)


def add_reversal(parser: argparse.ArgumentParser) -> None:
    """The rule of the account processor."""
    parser.add_argument(
        "--reversal_ms",
        type=int,
        default=MEMORY_MS,
        help="how long a credit can be reversed, and an ended hold is told from an unknown one, ms",
    )


def check_rules(options: JobOptions) -> None:
    """UsageError for one of `add_rules` that is out of range."""
    check_range(options, ttl_ms=(1, MAX_MS), sla_ms=(1, MAX_MS))
    check_reversal(options)


def check_reversal(options: JobOptions) -> None:
    check_range(options, reversal_ms=(_LEAST_REVERSAL_MS, MAX_MS))
