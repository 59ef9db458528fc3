"""Auctions, answers about money alone: payments.status → funds held or refused → auction.log.

Over recorded topics with --input, live without it. Flags and failures: docs/pipelines/auction_funds.md.
"""

from pipelines.auction_jobs import run_stages
from pipelines.common import main


def run(argv: list[str]) -> int:
    return run_stages(argv, ("Funds",))


if __name__ == "__main__":
    main(run)
