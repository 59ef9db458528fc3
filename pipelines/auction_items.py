"""Auctions, items alone: auction.items → validated, enriched, geo-encoded → auction.log.

Over recorded topics with --input, live without it. Flags and failures: docs/pipelines/auction_items.md.
"""

from pipelines.auction_jobs import run_stages
from pipelines.common import main


def run(argv: list[str]) -> int:
    return run_stages(argv, ("Items",))


if __name__ == "__main__":
    main(run)
