"""Auctions, notices alone: auction.bids.history → who is told what → auction.notices.

Over recorded topics with --input, live without it. Flags and failures: docs/pipelines/auction_notices.md.
"""

from pipelines.auction_jobs import run_stages
from pipelines.common import main


def run(argv: list[str]) -> int:
    return run_stages(argv, ("Notices",))


if __name__ == "__main__":
    main(run)
