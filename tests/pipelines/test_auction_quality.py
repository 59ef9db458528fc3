"""How well ads and fraud signals of a recorded run did."""

import json
from pathlib import Path

from auctions import topics
from auctions.fraud_quality import Quality, histories
from auctions.market import Market
from auctions.placement_backtest import CHOOSERS, back_test
from pipelines.auction_quality import back_test_ads, judge_signals
from pipelines.registry import REGISTRY
from schemas.auctions import Alert, Signal
from schemas.rails import Record, Tick
from transforms.chunks import pack_chunk
from transforms.topic_files import write_topics


def record(folder: Path, topic: str, told: dict[int, list[tuple[int, object]]]) -> None:
    """A topic on disk out of (time, event) by partition."""
    chunks = [
        pack_chunk(
            topic,
            partition,
            [Record(n, at, b"k", REGISTRY.encode(event), None, ()) for n, (at, event) in enumerate(events)],
        )
        for partition, events in told.items()
    ]
    write_topics(folder, {topic: 2}, chunks)


def test_the_back_test_reads_all_partitions_in_the_order_of_time(tmp_path: Path) -> None:
    history = histories(Market(seed=6, auctions=60, bidders=30, per_kind=0).plan())
    by_partition: dict[int, list[tuple[int, object]]] = {0: [(history[0][0], Tick(1))], 1: []}
    for at, event in history:
        by_partition[sum(event.auction_id.encode()) % 2].append((at, event))  # type: ignore[attr-defined]
    record(tmp_path, topics.HISTORY.name, by_partition)
    found = back_test_ads(tmp_path)
    assert found.wrong == [] and found.results.keys() == CHOOSERS.keys()
    middle = (history[0][0] + history[-1][0]) // 2
    ordered = sorted(history, key=lambda each: (each[0], sum(each[1].auction_id.encode()) % 2))  # type: ignore[attr-defined]
    assert found == back_test(ordered, middle) and found.results["similar"].placements > 0  # type: ignore[arg-type]
    assert found != back_test(ordered, 0), "the first half does not count"  # type: ignore[arg-type]


def test_no_history_is_no_placement(tmp_path: Path) -> None:
    record(tmp_path, topics.HISTORY.name, {})
    assert set(back_test_ads(tmp_path).results.values()) == {(0, 0)}


def test_alerts_are_judged_by_what_was_generated(tmp_path: Path) -> None:
    def alert(signal: Signal, *persons: str) -> tuple[int, Alert]:
        return 9, Alert(f"{signal}{persons}", persons, signal, 1.0, (), 0, 9)

    told = {0: [alert("SHILL", "s1", "seller"), (9, Tick(9))], 1: [alert("SHILL", "honest", "seller")]}
    record(tmp_path, topics.ALERTS.name, told)
    cheats = [{"signal": "SHILL", "persons": ["s1"]}, {"signal": "COLLUSION", "persons": ["a", "b"]}]
    (tmp_path / "truth.json").write_text(json.dumps({"cheats": cheats}))
    rows = {row.signal: row for row in judge_signals(tmp_path, tmp_path / "truth.json")}
    assert rows["SHILL"] == Quality("SHILL", 1, 1, 2, 1)
    assert rows["COLLUSION"] == Quality("COLLUSION", 1, 0, 0, 0)
