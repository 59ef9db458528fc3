"""The topics: their names are part of the interface."""

from payments import topics


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
