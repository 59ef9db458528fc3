"""How well a run of auctions did what it only suggests: its ads against other ways to choose, its fraud signals against known cheats."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from auctions import topics
from auctions.fraud_quality import Quality, quality
from auctions.market import Cheat
from auctions.placement_backtest import BackTest, back_test
from auctions.stories import HistoryEvent
from pipelines.registry import REGISTRY
from schemas.auctions import Alert
from transforms.chunks import unpack_chunk
from transforms.topic_files import read_topic


def back_test_ads(folder: Path) -> BackTest:
    """The back-test on the recorded histories; its first half, by time, only fills the shelf."""
    told = [
        (at, event)
        for at, event in _events(folder, topics.HISTORY.name)
        if isinstance(event, HistoryEvent)
    ]
    told.sort(key=lambda each: each[0])  # those of one time stay by partition and offset
    since = (told[0][0] + told[-1][0]) // 2 if told else 0
    return back_test(told, since)


def judge_signals(folder: Path, truth: Path) -> Sequence[Quality]:
    """Precision and recall of the recorded alerts; `truth` is what the generator says of the cheats."""
    alerts = (event for _, event in _events(folder, topics.ALERTS.name) if isinstance(event, Alert))
    said = json.loads(truth.read_text(encoding="utf-8"))["cheats"]
    return quality(alerts, [Cheat(cheat["signal"], tuple(cheat["persons"])) for cheat in said])


def _events(folder: Path, topic: str) -> Iterator[tuple[int, Any]]:
    """(time of the log, event) of a recorded topic, by partition and offset."""
    for chunk in read_topic(folder, topic):
        for record in unpack_chunk(chunk):
            yield record.at, REGISTRY.decode(record.value or b"")
