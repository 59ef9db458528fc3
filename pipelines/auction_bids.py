"""Auctions, bids alone: auction.bids → validated, forwarded with the ticks, partition to partition → auction.log.

Over recorded topics with --input, live without it. Flags and failures: docs/pipelines/auction_bids.md.
"""

from pipelines.auction_jobs import run_stages
from pipelines.common import main


def run(argv: list[str]) -> int:
    return run_stages(argv, ("Bids",))


if __name__ == "__main__":
    main(run)
