"""How the sides are started, judged and compared; the figures themselves are no tests."""

import ast
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import live_peers
from bench.card import EVENTS, CardBalance
from bench.peers import balances, environment, sides
from bench.peers.sides import SIDES, Place


def balance(card: str, amount: int) -> bytes:
    return EVENTS.encode(CardBalance(card, amount))


def place(folder: Path) -> Place:
    return Place("broker:1", "jobs:2", "workers:3", (4, 5), folder, Path("python-of-peers"))


def test_the_rate_leaves_out_the_first_and_the_last_tenth() -> None:
    steady = [1000 + n for n in range(100)]
    per_second, seconds = balances.rate([0, *steady[1:-1], 1_000_000])
    assert (round(per_second), seconds) == (1000, 0.08)


def test_balances_are_judged_by_the_last_of_each_card(monkeypatch: pytest.MonkeyPatch) -> None:
    right = {b"a": [1, 3, 6], b"b": [5], b"c": [7]}
    found = [
        (n, b"a", balance("a", amount)) for n, amount in enumerate([1, 3])
    ]  # the third did not arrive: right so far
    found += [(n, b"b", balance("b", 5)) for n in range(2, 4)]  # one too many
    found += [(n, b"c", balance("c", 8)) for n in range(4, 5)]  # another sum
    found += [(n, b"d", balance("d", 0)) for n in range(5, 10)]  # nobody's
    monkeypatch.setattr(balances, "read", lambda bootstrap, topic, partitions: iter(found))
    written = balances.judge("broker", "topic", right)
    assert (written.records, written.wrong, written.records_per_s, written.seconds) == (10, 3, 1000, 0.008)


def test_too_few_balances_have_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balances, "read", lambda bootstrap, topic, partitions: iter([(1, b"a", balance("a", 1))] * 9))
    with pytest.raises(ValueError, match="topic has 9 records"):
        balances.judge("broker", "topic", {})


def counting(*counts: int) -> Any:
    left = list(counts)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(live_peers.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(live_peers.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


@pytest.mark.usefixtures("clock")
def test_a_side_is_waited_for_from_its_first_balance_on() -> None:
    late = [0] * 50 + list(range(1, 30)) + [100]
    assert live_peers.wait(counting(*late), 100, 60, 30, lambda: None)
    assert not live_peers.wait(counting(0, 1), 100, 60, 30, lambda: None)
    with pytest.raises(SystemExit, match="no balance within 60 s"):
        live_peers.wait(counting(0), 100, 60, 30, lambda: None)


@pytest.mark.usefixtures("clock")
def test_a_side_whose_process_ended_is_not_waited_for() -> None:
    def check() -> None:
        raise SystemExit("ended")

    with pytest.raises(SystemExit, match="ended"):
        live_peers.wait(counting(0), 100, 60, 30, check)


def test_processes_end_with_their_side_even_if_they_do_not_want_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_peers, "TERM_S", 0.1)
    deaf = "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(os.getpid(), flush=True); signal.pause()"
    log = tmp_path / "process-0.log"
    with live_peers.running([[sys.executable, "-c", deaf]], tmp_path) as check:
        while not log.read_text().endswith("\n"):
            time.sleep(0.01)
        check()
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


def test_a_process_that_ended_is_told_with_its_log(tmp_path: Path) -> None:
    told = pytest.raises(SystemExit, match=r"exit status 3: see .*process-0\.log")
    with told, live_peers.running([[sys.executable, "-c", "raise SystemExit(3)"]], tmp_path) as check:
        for _ in range(1000):
            check()
            time.sleep(0.01)


def test_rows_have_medians_ratios_and_guarantees() -> None:
    found = [
        {"run": run, "side": side, "records_per_s": rate, "wrong": 0}
        for side, rates in {"ours": [90_000, 100_000, 300_000], "beam": [4_000, 5_000, 1_000]}.items()
        for run, rate in enumerate(rates)
    ]
    ours, beam = live_peers.rows_of(found, [SIDES[0]], {"apache-beam": "2.77.0"})
    assert (ours["value"], ours["floor"], ours["floor_is"], ours["guarantee"]) == (100_000, 80_000, "value", sides.OURS)
    assert (beam["value"], beam["baseline"], beam["ratio"], beam["floor"], beam["aim"]) == (
        100_000,
        4_000,
        25.0,
        20,
        35,
    )
    assert beam["version"] == "apache-beam 2.77.0" and [run["records_per_s"] for run in beam["runs"]] == [
        4000,
        5000,
        1000,
    ]


def test_each_side_writes_to_a_topic_of_its_own_with_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides.subprocess, "run", lambda command, check: None)
    read = []
    for side in SIDES:
        side.prepare(place(tmp_path / side.name))
        read.append(json.loads((tmp_path / side.name / "settings.json").read_text()))
    assert len({one["target"] for one in read}) == len(SIDES) and {one["source"] for one in read} == {"cards.deposits"}
    assert all(one["producer"] == sides.PRODUCER and one["consumer"] == sides.CONSUMER for one in read)
    assert [one["guarantee"] for one in read] == ["at-least-once"] * 3 + ["exactly-once"] + ["at-least-once"] * 2


def test_the_peers_knobs_are_those_of_ours() -> None:
    knobs = live_peers.live_card.knobs(**{k: v for k, v in live_peers.KNOBS.items() if k != "lanes"})
    write, read = knobs.write.properties(), knobs.read.properties()
    assert all(write[name] == sides.PRODUCER[name] for name in sides.PRODUCER if name != "partitioner")
    assert all(read[name] == value for name, value in sides.CONSUMER.items() if name != "auto.offset.reset")


def test_peers_have_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides.subprocess, "run", lambda command, check: None)
    assert "--parallelism=2" in sides.beam(place(tmp_path))[0]
    assert len(sides.quix(place(tmp_path))) == 2
    first, second = sides.bytewax_recovering(place(tmp_path))
    assert first[-4:] == ["-a", "127.0.0.1:4;127.0.0.1:5", "-i", "0"] and second[-1] == "1"
    assert first[4:6] == ["-r", str(tmp_path / "recovery")]


@pytest.mark.parametrize("name", ["quix_cards.py", "bytewax_cards.py"])
def test_programs_of_peers_import_nothing_of_the_project(name: str) -> None:
    tree = ast.parse((sides.HERE / name).read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert modules and not {str(module).split(".")[0] for module in modules} & {
        "bench",
        "transforms",
        "schemas",
        "stack",
    }


def test_the_lock_has_the_peers_with_hashes() -> None:
    text = environment.LOCK.read_text(encoding="utf-8")
    versions = environment.locked(text)
    assert {peer.split("[")[0] for peer in environment.PEERS} <= versions.keys()
    assert text.count("==") == len(versions) and text.count("--hash=sha256:") >= len(versions)
    assert environment.locked("a==1 ; x != 'y' \\\n    --hash=sha256:b==\n# c==2\n") == {"a": "1"}


def test_the_environment_is_made_once_for_each_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, folder, made = tmp_path / "lock.txt", tmp_path / "peers", []
    monkeypatch.setattr(environment.venv, "create", lambda path, **_: (made.append(path), path.mkdir(exist_ok=True)))
    monkeypatch.setattr(environment.subprocess, "run", lambda command, **_: None)
    for text in ("a==1", "a==1", "a==2"):
        lock.write_text(text, encoding="utf-8")
        assert environment.peers_python(folder, lock) == folder / "bin" / "python"
    assert len(made) == 2
