"""Auctions, analytics: auction.bids.history → spreads, sales, price ranges, who is shown what.

Over recorded topics with --input, live without it. Flags and failures: docs/pipelines/auction_analytics.md.
"""

from pipelines.auction_jobs import run_stages
from pipelines.auction_stages import ANALYTICS
from pipelines.common import main


def run(argv: list[str]) -> int:
    return run_stages(argv, ANALYTICS)


if __name__ == "__main__":
    main(run)
