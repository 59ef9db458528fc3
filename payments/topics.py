"""The topics of the payment side: who writes and who reads them is the table in docs/architecture.md."""

from transforms.fold import DEAD_LETTERS, Topic

INCOMING = Topic("payments.incoming")  # key payment_id; clients
INFLIGHT = Topic("payments.inflight")  # key account_id; the log of record
JOURNAL = Topic("payments.journal")  # key account_id
STATUS = Topic("payments.status")  # key payment_id
CONFIRMED = Topic("payments.confirmed")  # key payment_id
BALANCES = Topic("payments.balances")  # key account_id; upsert
OVERDUE = Topic("payments.overdue")  # key payment_id; the watchdog

ALL = (INCOMING, INFLIGHT, JOURNAL, STATUS, CONFIRMED, BALANCES, OVERDUE, DEAD_LETTERS)
