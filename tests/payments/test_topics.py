"""The topics: their names are part of the interface."""

from payments import topics
from transforms.topic_settings import KEEP


def test_names_and_partitions():
    assert [topic.name for topic in topics.ALL] == [
        "payments.incoming",
        "payments.inflight",
        "payments.journal",
        "payments.status",
        "payments.confirmed",
        "payments.balances",
        "payments.overdue",
        "rails.deadletters",
    ]
    assert {topic.partitions for topic in topics.ALL} == {16}


def test_settings_of_all_topics():
    assert [(made.name, made.partitions) for made in topics.SETTINGS] == [(t.name, t.partitions) for t in topics.ALL]
    by_name = {made.name: made for made in topics.SETTINGS}
    assert all(made.append_time for made in topics.SETTINGS)  # contract line 2
    assert [made.name for made in topics.SETTINGS if made.compact] == ["payments.balances"]
    kept = [made.name for made in topics.SETTINGS if made.retention_ms == KEEP and not made.compact]
    assert kept == ["payments.inflight", "payments.journal", "payments.confirmed"]
    assert by_name["payments.status"].retention_ms == 7 * 86_400_000
    letters, largest = by_name.pop("rails.deadletters"), max(made.message_bytes for made in by_name.values())
    assert letters.message_bytes >= 2 * largest
    assert letters.retention_ms == 30 * 86_400_000
