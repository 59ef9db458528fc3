"""Rows of single records: each depends on its record alone, and a repeat gives the same row."""

import pytest

from payments import topics
from payments.live_views import LIVE_TABLES, LIVE_TOPICS, live_row
from payments.topics import JOURNAL
from payments.view_tables import JOURNAL as JOURNAL_TABLE
from pipelines.registry import REGISTRY
from schemas.rails import Record, Tick
from tests.pipelines.runs import generate, run_payments
from transforms.chunks import unpack_chunk
from transforms.topic_files import read_topic


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Record]]:
    folder = tmp_path_factory.mktemp("views")
    run = run_payments(generate(folder / "raw.avro"), folder / "run")
    chunks = [chunk for topic in LIVE_TOPICS for chunk in read_topic(run / "topics", topic.name)]
    return [(chunk.topic, record) for chunk in chunks for record in unpack_chunk(chunk)]


def test_every_record_but_ticks_has_a_row_of_a_table(records: list[tuple[str, Record]]) -> None:
    tables = {table.name: table for table in LIVE_TABLES}
    seen: dict[str, dict[tuple[object, ...], tuple[object, ...]]] = {name: {} for name in tables}
    for topic, record in records:
        event = REGISTRY.decode(record.value or b"")
        made = live_row(record, event)
        assert (made is None) == (type(event) is Tick), topic
        if made is None:
            continue
        table, row = made
        assert table in LIVE_TABLES and len(row) == len(table.columns)
        key = tuple(row[table.names.index(name)] for name in table.key)
        version = table.names.index(table.version or "")
        assert isinstance(row[version], int)
        held = seen[table.name].get(key)
        if held is None or table.name in ("payments", "balances"):
            seen[table.name][key] = row
        else:
            pytest.fail(f"{table.name}: two rows for {key}")
    assert all(len(rows) > 0 for name, rows in seen.items() if name != "overdue")


def test_a_repeat_at_another_offset_gives_the_same_row(records: list[tuple[str, Record]]) -> None:
    for _, record in records:
        event = REGISTRY.decode(record.value or b"")
        assert live_row(record._replace(offset=record.offset + 1_000, at=record.at + 5), event) == live_row(
            record, event
        )


def test_the_tables_are_those_of_recorded_runs_with_versions() -> None:
    assert all(table.version for table in LIVE_TABLES)
    assert LIVE_TABLES[0].columns == JOURNAL_TABLE.columns and LIVE_TABLES[0].key == JOURNAL_TABLE.key
    assert JOURNAL in LIVE_TOPICS and topics.INCOMING not in LIVE_TOPICS
