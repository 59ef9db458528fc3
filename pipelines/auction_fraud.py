"""Auctions, fraud: auction.bids.history → traces of each auction → what each person does over all of them → auction.alerts.

Over recorded topics with --input, live without it. Flags and failures: docs/pipelines/auction_fraud.md.
"""

from pipelines.auction_jobs import run_stages
from pipelines.auction_stages import FRAUD
from pipelines.common import main


def run(argv: list[str]) -> int:
    return run_stages(argv, FRAUD)


if __name__ == "__main__":
    main(run)
