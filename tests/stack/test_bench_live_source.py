"""The benchmark of the source measures what it says."""

import os

import pytest

from bench.live_source import measure

PORT = int(os.environ.get("BEAM_ON_RAILS_TEST_PORTS", "20600")) + 60


def test_rows_have_what_the_table_needs() -> None:
    rows = measure(repeats=1, records=2000, port=PORT)
    assert [row["name"] for row in rows] == ["source alone, Kafka to chunks", "source alone, records with origins"]
    for row in rows:
        assert set(row) == {"name", "unit", "value", "baseline", "ratio", "floor", "aim", "floor_is"}
        assert row["value"] > 0 and row["floor"] <= row["aim"]


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0)])
def test_there_is_something_to_measure(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        measure(*arguments)
