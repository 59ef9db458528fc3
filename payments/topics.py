"""The topics of the payment side: who writes and who reads them is the table in docs/architecture.md."""

from transforms.fold import DEAD_LETTERS, Topic
from transforms.topic_settings import DAY_MS, MESSAGE_BYTES, TopicSettings

INCOMING = Topic("payments.incoming")  # key payment_id; clients
INFLIGHT = Topic("payments.inflight")  # key account_id; the log of record
JOURNAL = Topic("payments.journal")  # key account_id
STATUS = Topic("payments.status")  # key payment_id
CONFIRMED = Topic("payments.confirmed")  # key payment_id
BALANCES = Topic("payments.balances")  # key account_id; upsert
OVERDUE = Topic("payments.overdue")  # key payment_id; the watchdog

ALL = (INCOMING, INFLIGHT, JOURNAL, STATUS, CONFIRMED, BALANCES, OVERDUE, DEAD_LETTERS)

PATIENT = (JOURNAL, STATUS, BALANCES)
"""What the next hop of a payment does not wait for: a writer may keep them back for a moment and send them together."""

WEEK_MS = 7 * DAY_MS

SETTINGS = (
    TopicSettings(INCOMING.name, INCOMING.partitions, WEEK_MS),
    TopicSettings(INFLIGHT.name, INFLIGHT.partitions),
    TopicSettings(JOURNAL.name, JOURNAL.partitions),
    TopicSettings(STATUS.name, STATUS.partitions, WEEK_MS),
    TopicSettings(CONFIRMED.name, CONFIRMED.partitions),
    TopicSettings(BALANCES.name, BALANCES.partitions, compact=True),
    TopicSettings(OVERDUE.name, OVERDUE.partitions, WEEK_MS),
    # A dead letter holds what was refused and says why, so it is larger.
    TopicSettings(DEAD_LETTERS.name, DEAD_LETTERS.partitions, 30 * DAY_MS, message_bytes=2 * MESSAGE_BYTES),
)
"""What each topic is like on Kafka, in the order of ALL. Replicas are those of a cluster of three brokers."""
