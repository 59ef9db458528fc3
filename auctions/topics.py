"""The topics of the auction platform: who writes and who reads them is the table in docs/architecture.md."""

from transforms.fold import DEAD_LETTERS, Topic
from transforms.topic_settings import DAY_MS, MESSAGE_BYTES, TopicSettings

ITEMS = Topic("auction.items")  # key auction_id; clients
BIDS = Topic("auction.bids")  # key auction_id; clients and the ticker
LOG = Topic("auction.log")  # key auction_id; the log of record: items, bids, the bids' clock, answers about money and prices
HISTORY = Topic("auction.bids.history")  # key auction_id; its whole story: item, decisions, price ranges, ending soon, outcome
OUTCOMES = Topic("auction.outcomes")  # key auction_id; outcomes, and who is ending soon
CURRENT = Topic("auction.current")  # key auction_id; upsert: the items as a table
NOTICES = Topic("auction.notices")  # key person
PRICES = Topic("auction.prices")  # key similarity key; upsert
RANGES = Topic("auction.ranges")  # key auction_id; upsert: what bidders see of them
ADS = Topic("auction.ads")  # key person
ALERTS = Topic("auction.alerts")  # key person

ALL = (ITEMS, BIDS, LOG, HISTORY, OUTCOMES, CURRENT, NOTICES, PRICES, RANGES, ADS, ALERTS, DEAD_LETTERS)

WEEK_MS = 7 * DAY_MS

SETTINGS = (
    TopicSettings(ITEMS.name, ITEMS.partitions),
    TopicSettings(BIDS.name, BIDS.partitions),
    TopicSettings(LOG.name, LOG.partitions),
    TopicSettings(HISTORY.name, HISTORY.partitions),
    TopicSettings(OUTCOMES.name, OUTCOMES.partitions),
    TopicSettings(CURRENT.name, CURRENT.partitions, compact=True),
    TopicSettings(NOTICES.name, NOTICES.partitions, WEEK_MS),
    TopicSettings(PRICES.name, PRICES.partitions, compact=True),
    TopicSettings(RANGES.name, RANGES.partitions, compact=True),
    TopicSettings(ADS.name, ADS.partitions, WEEK_MS),
    TopicSettings(ALERTS.name, ALERTS.partitions, WEEK_MS),
    # A dead letter holds what was refused and says why, so it is larger.
    TopicSettings(DEAD_LETTERS.name, DEAD_LETTERS.partitions, 30 * DAY_MS, message_bytes=2 * MESSAGE_BYTES),
)
"""What each topic is like on Kafka, in the order of ALL. Replicas are those of a cluster of three brokers."""
