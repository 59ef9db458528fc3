"""What the soak reads off a system, and what it says of the growth."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import live_soak
from bench.live_soak import growth_of, look, newest_bytes


def test_the_newest_snapshot_of_each_shard_counts(tmp_path: Path) -> None:
    sizes = {"a/t-0/009": 5, "a/t-0/010": 7, "a/t-1/003": 1, "b/t-0/001": 20}
    for name, size in sizes.items():
        path = tmp_path / f"{name}.snapshot"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    (tmp_path / "a" / "t-0" / ".1.partial").write_bytes(b"x" * 100)
    assert newest_bytes(tmp_path) == 7 + 1 + 20


def test_growth_is_from_the_first_fifth_to_the_last_after_a_warm_up() -> None:
    """30 samples: ten are left out, four make a fifth of the others."""
    values = [1000.0] * 10 + [10, 11, 12, 13] + [50] * 12 + [90, 91, 92, 93]
    samples = [{"second": float(n), "worker MB": value, "confirmed": 1.0} for n, value in enumerate(values)]
    assert growth_of(samples) == {"worker MB": {"first": 11.5, "last": 91.5, "growth": 80.0}}


def test_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a service that is this process: its threads and memory are there, and one that is gone counts nothing."""
    monkeypatch.setattr(live_soak, "ends_of", lambda bootstrap, topic: [3, 4])
    family = [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=2**22 + 1)]
    service = SimpleNamespace(process=SimpleNamespace(family=lambda: family))
    rest = SimpleNamespace(checkpoint_bytes=lambda job: {"j": 28_395}[job])
    stack: Any = SimpleNamespace(services={"workers-1": service}, rest=rest, bootstrap="")
    job: Any = SimpleNamespace(found=lambda: {"jid": "j"})
    sample = look(stack, job, tmp_path)
    assert sample.pop("workers-1 threads") >= 1 and sample.pop("workers-1 MB") > 5
    assert sample == {"checkpoint kB": 28.395, "snapshots MB": 0, "confirmed": 7}
