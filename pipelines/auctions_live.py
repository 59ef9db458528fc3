"""Auctions live: all stages of auctions, and of the payments behind them, as one endless job between topics of Kafka.

Each stage is a root of its own: what joins them are the topics. `--only=Items,Bids,…` launches some of them, so that a platform may be one
job or several. With --input: recorded topics are folded again and compared. Flags, operation and failures: docs/pipelines/auctions_live.md.
"""

from pipelines.auction_jobs import NAMES, run_stages
from pipelines.auction_stages import NAMES as OF_AUCTIONS
from pipelines.common import main


def run(argv: list[str]) -> int:
    bounded = any(word == "--input" or word.startswith("--input=") for word in argv)
    return run_stages(argv, OF_AUCTIONS if bounded else NAMES)


if __name__ == "__main__":
    main(run)
