"""The topics between the stages of analytics and fraud. `auctions.topics` has those that others read."""

from transforms.fold import Topic
from transforms.topic_settings import DAY_MS, TopicSettings

SALES = Topic("auction.sales")  # key similarity key: what was sold, and who asks for its range
SPREADS = Topic("auction.spreads")  # key auction_id: the spread of each auction that is over
TRACES = Topic("auction.traces")  # key person: what they did in an auction, and where they were seen
REQUESTS = Topic("auction.ads.requests")  # key person, or one made for a partition

ALL = (SALES, SPREADS, TRACES, REQUESTS)

SETTINGS = (
    TopicSettings(SALES.name, SALES.partitions),
    TopicSettings(SPREADS.name, SPREADS.partitions),
    TopicSettings(TRACES.name, TRACES.partitions),
    # The placer keeps what is open; a request itself is of no use after a week.
    TopicSettings(REQUESTS.name, REQUESTS.partitions, 7 * DAY_MS),
)
"""What each is like on Kafka, in the order of ALL."""
