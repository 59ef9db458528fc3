"""Topics between the stages, and their settings."""

from auctions import analytics_topics, topics


def test_settings_stand_in_the_order_of_the_topics_and_no_name_is_taken():
    assert [s.name for s in analytics_topics.SETTINGS] == [topic.name for topic in analytics_topics.ALL]
    assert not {topic.name for topic in analytics_topics.ALL} & {topic.name for topic in topics.ALL}
