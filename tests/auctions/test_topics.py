"""The topics: their names are part of the interface."""

from auctions import topics
from transforms.topic_settings import KEEP


def test_names_and_partitions():
    assert [topic.name for topic in topics.ALL] == [
        "auction.items",
        "auction.bids",
        "auction.log",
        "auction.bids.history",
        "auction.outcomes",
        "auction.current",
        "auction.notices",
        "auction.prices",
        "auction.ranges",
        "auction.ads",
        "auction.alerts",
        "rails.deadletters",
    ]
    assert {topic.partitions for topic in topics.ALL} == {16}


def test_settings_of_all_topics():
    assert [(made.name, made.partitions) for made in topics.SETTINGS] == [(t.name, t.partitions) for t in topics.ALL]
    by_name = {made.name: made for made in topics.SETTINGS}
    assert all(made.append_time for made in topics.SETTINGS)  # contract line 2
    compact = [made.name for made in topics.SETTINGS if made.compact]
    assert compact == ["auction.current", "auction.prices", "auction.ranges"]
    kept = [made.name for made in topics.SETTINGS if made.retention_ms == KEEP and not made.compact]
    assert kept == ["auction.items", "auction.bids", "auction.log", "auction.bids.history", "auction.outcomes"]
    assert by_name["rails.deadletters"].message_bytes >= 2 * by_name["auction.log"].message_bytes
