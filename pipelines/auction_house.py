"""Auctions, the house alone: auction.log → decisions, outcomes, what is asked of the payment side, the items as a table.

Over recorded topics with --input, live without it. Flags and failures: docs/pipelines/auction_house.md.
"""

from pipelines.auction_jobs import run_stages
from pipelines.common import main


def run(argv: list[str]) -> int:
    return run_stages(argv, ("House",))


if __name__ == "__main__":
    main(run)
