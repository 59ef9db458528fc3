"""The parts of a chaos run that need no stack: the schedule, the proxy, canaries, controls, damage, results."""

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import canaries, faults, hostile, market
from chaos.checks import control_reader, wrong_balances
from chaos.clock import Clock
from chaos.faults import FAULTS, Done, damage, stopped
from chaos.market import Market
from chaos.proxy import Proxy
from chaos.results import Control, Outcome, Result, as_json, recovery, summary, table, write_results
from chaos.run import provoke, silent, suffer
from chaos.schedule import Planned, plan
from chaos.system import Disk, FreshWatch, ProxiedKafka, System
from payments import topics
from payments.admission import Admission
from payments.books import Books
from payments.live_stages import KINDS
from pipelines import chaos as command
from pipelines.catalog import pipelines
from pipelines.common import UsageError
from pipelines.registry import REGISTRY
from pipelines.topics import METRICS
from schemas.payments import LedgerEntry, Money, PaymentConfirmed, PaymentStatus
from schemas.rails import DeadLetter, Origin, Position, Record, Source
from stack.kafka import Kafka
from stack.services import wait_until
from transforms.chunks import pack_chunks
from transforms.fold import DEAD_LETTERS, MissingRecord, Topic
from transforms.fold_bounded import Engine
from transforms.kafka_settings import kafka_settings
from transforms.loop import Stage
from transforms.snapshots import TornSnapshot, encode_shard, restore_shard
from transforms.topic_files import write_topics
from transforms.topic_settings import DAY_MS


class TestMarket:
    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> Market:
        """A market whose records go nowhere, at once."""
        made = Market(kafka_settings("127.0.0.1:1", environment={}), 1)
        made._writer = SimpleNamespace(write=lambda lines: None, flush=lambda: None, close=lambda: None)  # type: ignore[assignment]
        monkeypatch.setattr(market, "_OVER_S", 0.1)
        return made

    def test_waits_for_each_auction_by_its_name(self, made: Market, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(3):
            made._list()
        monkeypatch.setattr(made, "_over", lambda: {"x0", "x2", "another"})
        assert made.finish() == "1 of 3 auctions not over after 0.1 s: x1"
        monkeypatch.setattr(made, "_over", lambda: {"x1"})
        assert "x0, x2" in made.finish()
        monkeypatch.setattr(made, "_over", lambda: {"x0", "x1", "x2"})
        assert made.finish() == ""

    def test_does_not_wait_for_one_that_was_listed_after_its_end(
        self, made: Market, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made._list()
        monkeypatch.setattr(market, "LASTS_MS", -market.LEAD_MS)
        made._list()
        monkeypatch.undo()
        made._list()
        assert made.auctions == 2
        assert list(made._ends) == ["x0", "x2"]


class TestSchedule:
    def test_the_seed_says_it_all(self) -> None:
        kinds = ["a", "b", "c"]
        planned = plan(7, 8, kinds)
        assert planned == plan(7, 8, kinds[::-1]) != plan(8, 8, kinds)
        assert [each.number for each in planned] == list(range(1, 9))
        assert all(2 <= each.wait_s <= 6 and 0 <= each.dice < 1 for each in planned)

    def test_each_kind_comes_before_any_comes_again(self) -> None:
        planned = [each.kind for each in plan(3, 2 * len(FAULTS) + 1, list(FAULTS))]
        assert set(planned[: len(FAULTS)]) == set(planned[len(FAULTS) : -1]) == set(FAULTS)

    def test_a_longer_run_begins_as_a_shorter_one(self) -> None:
        assert plan(3, 9, ["a", "b"])[:4] == plan(3, 4, ["a", "b"]) and plan(1, 0, ["a"]) == []

    @pytest.mark.parametrize(("faults", "kinds"), [(1, []), (1, ["a", "a"]), (-1, ["a"])])
    def test_nonsense(self, faults: int, kinds: list[str]) -> None:
        with pytest.raises(ValueError, match=r"must be|>="):
            plan(1, faults, kinds)


class Echo:
    """Answers each line with itself; `heard` has what came."""

    def __init__(self) -> None:
        self.heard = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(one,), daemon=True).start()

    def _answer(self, one: socket.socket) -> None:
        try:
            while data := one.recv(1 << 16):
                self.heard += data
                one.sendall(data)
        except OSError:
            pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def echo() -> Iterator[Echo]:
    found = Echo()
    yield found
    found.socket.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(free_port(), echo.port) as found:
        yield found


def client(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=2)


def asked(one: socket.socket, text: bytes) -> bytes:
    """The answer; empty when the connection has ended, or nothing comes for half a second."""
    try:
        one.settimeout(0.5)
        one.sendall(text)
        return one.recv(100)
    except OSError:
        return b""


class TestProxy:
    def test_passes_on(self, proxy: Proxy) -> None:
        with client(proxy) as one, client(proxy) as other:
            assert asked(one, b"a") == b"a" and asked(other, b"b") == b"b"
            assert proxy.connections == 2
            one.shutdown(socket.SHUT_WR)
            assert one.recv(1) == b""
        assert wait_until(lambda: proxy.connections == 0, 2, 0.01)

    def test_slow(self, proxy: Proxy) -> None:
        with client(proxy) as one:
            proxy.slow(0.05, 10_000)
            began = time.monotonic()
            assert asked(one, bytes(100)) == bytes(100)
            assert time.monotonic() - began >= 2 * (0.05 + 0.01)
            proxy.heal()
            assert asked(one, b"a") == b"a"

    def test_cut(self, proxy: Proxy) -> None:
        with client(proxy) as one:
            assert asked(one, b"a") == b"a"
            proxy.cut()
            assert asked(one, b"b") == b""
            with client(proxy) as other:
                assert asked(other, b"c") == b""
            proxy.heal()
            with client(proxy) as other:
                assert asked(other, b"d") == b"d"

    def test_half_open_connections_stay_dead(self, proxy: Proxy, echo: Echo) -> None:
        with client(proxy) as one:
            assert asked(one, b"a") == b"a"
            proxy.half_open()
            assert asked(one, b"b") == b"" and proxy.connections == 1, "nobody is told"
            with client(proxy) as other:
                assert asked(other, b"c") == b"c"
            proxy.heal()
            assert asked(one, b"d") == b"" and echo.heard == b"ac"

    def test_lost_answers(self, proxy: Proxy, echo: Echo) -> None:
        with client(proxy) as one:
            assert asked(one, b"a") == b"a"
            proxy.lose_answers()
            assert asked(one, b"b") == b"" and echo.heard == b"ab", "it arrived"
            proxy.heal()
            assert asked(one, b"c") == b"" and echo.heard == b"ab", "an answer that is lost cannot come later"

    def test_closing_says_nothing(self, echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
        with Proxy(free_port(), echo.port) as proxy:
            one = client(proxy)
            proxy.slow(5, 1)
            one.sendall(b"a")
            assert wait_until(lambda: proxy.connections == 1, 2, 0.01)
        assert caplog.records == [] and one.recv(1) == b""
        one.close()

    def test_nobody_behind_it(self) -> None:
        with Proxy(free_port(), free_port()) as proxy, client(proxy) as one:
            assert asked(one, b"a") == b""


class TestClock:
    def test_a_process_sees_it_move_and_come_back(self, tmp_path: Path) -> None:
        clock = Clock(tmp_path)

        def seen() -> float:
            """How far off the right time it is for a new process."""
            told = subprocess.run(
                ["date", "+%s"], env={**os.environ, **clock.environment()}, capture_output=True, check=True
            )
            return int(told.stdout) - time.time()

        assert abs(seen()) < 5
        for off in (45, -30, 0):
            clock.move(off)
            assert abs(seen() - off) < 5

    def test_a_process_that_runs_sees_it_move(self, tmp_path: Path) -> None:
        clock = Clock(tmp_path)
        command = [sys.executable, "-c", "import sys, time\nfor _ in sys.stdin: print(int(time.time()), flush=True)"]
        with subprocess.Popen(
            command, env={**os.environ, **clock.environment()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            for off in (0, 45, -30, 0):
                clock.move(off)
                process.stdin.write("\n")
                process.stdin.flush()
                assert abs(int(process.stdout.readline()) - time.time() - off) < 5
            process.stdin.close()

    @pytest.mark.parametrize(("dice", "off", "words"), [(0.0, 20, "20 s ahead"), (0.75, -30, "30 s behind")])
    def test_a_jump_shows_in_append_times_and_is_taken_back(
        self, dice: float, off: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(tmp_path)
        seen: list[int] = []

        def check() -> None:
            seen.append(clock.off)
            watch.confirmed_at = int(time.time() * 1000) + 1000 * seen[-1]

        watch = SimpleNamespace(confirmed_at=0)
        system: Any = SimpleNamespace(clock=clock, watch=watch, check=check, violations=[])
        monkeypatch.setattr(faults.time, "sleep", lambda seconds: None)
        done = faults.jump_clock(system, dice)
        assert words in done.what and seen == [off, 0] and system.violations == []

    def test_a_jump_that_does_not_show_is_a_violation(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = SimpleNamespace(confirmed_at=int(time.time() * 1000))
        clock = Clock(tmp_path)
        system: Any = SimpleNamespace(clock=clock, watch=now, check=lambda: None, violations=[])
        monkeypatch.setattr(faults.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(faults, "wait_until", lambda true, seconds: true())
        faults.jump_clock(system, 0.4)
        assert system.violations == ["clock-jump: nothing is appended 76 s off the right time"]


class TestCanaries:
    def test_card_numbers_have_right_check_digits(self) -> None:
        for seed in range(50):
            card = canaries.card_number(random.Random(seed))
            assert len(card) == 16 and card.startswith("400000")
            digits = [int(digit) for digit in card]
            assert (sum(digits[1::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[::2])) % 10 == 0

    @pytest.mark.parametrize(
        "text",
        [
            b"card 4000001234567899.",
            b"4000 0012 3456 7899",
            b"4000-0012-3456-7899",
            "4000001234567899".encode("utf-16-le"),
            b"34303030303031323334353637383939",
        ],
    )
    def test_a_planted_canary_is_found(self, text: bytes) -> None:
        found = canaries.scan([("a", [b"nothing"]), ("b", [text])], {"a card": "4000001234567899", "a secret": "xyzzy"})
        assert found == ["a card stands in b"]

    def test_across_pieces_and_once_for_each_place(self) -> None:
        pieces = [b"..xy", b"z", b"zy..xyzzy"]
        assert canaries.scan([("a", pieces)], {"s": "xyzzy"}) == ["s stands in a"]
        assert canaries.scan([("a", [b"..xy", b"z", b".zy"])], {"s": "xyzzy"}) == []

    def test_files(self, tmp_path: Path) -> None:
        for name in ("logs/a.log", "kafka/data/0.log", "kafkaesque"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("xyzzy")
        found = canaries.scan(canaries.files(tmp_path, "kafka"), {"s": "xyzzy"})
        assert found == ["s stands in kafkaesque", "s stands in logs/a.log"]


class TestDamage:
    @pytest.mark.parametrize("cut", [True, False])
    def test_a_torn_snapshot_is_known_as_such(self, tmp_path: Path, cut: bool) -> None:
        engine = Engine(Stage(Admission(DAY_MS), topics.INCOMING), REGISTRY)
        path = tmp_path / "1.snapshot"
        path.write_bytes(encode_shard(engine.shard(3)))
        restore_shard(engine.shard(3), path.read_bytes())
        damage(path, cut)
        with pytest.raises(TornSnapshot):
            restore_shard(engine.shard(3), path.read_bytes())

    def test_a_disk_that_is_not_ours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        disk = Disk(tmp_path / "disk")
        (tmp_path / "disk" / "a").mkdir()
        disk.fill()
        assert [path.stat().st_mode & 0o777 for path in (disk.place, disk.place / "a")] == [0o555] * 2
        disk.free()
        assert [path.stat().st_mode & 0o777 for path in (disk.place, disk.place / "a")] == [0o755] * 2
        disk.close()


class TestFresh:
    """When a system counts as recovered."""

    @pytest.fixture
    def system(self) -> System:
        system: Any = System.__new__(System)  # one that nothing was started for
        now = int(time.time() * 1000)
        turns = {(kind.stage, 0): {"at": now, "lag": 0, "worker": "host:1"} for kind in KINDS}
        system.lanes, system.rate, system.violations = 1, 100, []
        system.job = SimpleNamespace(found=lambda: {"state": "RUNNING", "jid": "1"})
        system.watch = SimpleNamespace(_lock=threading.Lock(), turns=turns, confirmed_at=now, check=lambda: None)
        return system

    def test_one_that_is(self, system: System) -> None:
        since = int(time.time() * 1000) - 500
        assert system.stale(since) == "" and system.wait_fresh(since, 0) and system.workers() == [1]

    def test_what_was_said_before_does_not_count(self, system: System) -> None:
        assert system.stale(int(time.time() * 1000) + 5000) == "payments.admission/0 has not reported"

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"job": SimpleNamespace(found=lambda: None)}, "the job is unknown"),
            ({"job": SimpleNamespace(found=lambda: {"state": "RESTARTING"})}, "the job is RESTARTING"),
            ({"lanes": 2}, "payments.admission/1 has not reported"),
        ],
    )
    def test_one_that_is_not(self, system: System, change: dict[str, Any], why: str) -> None:
        vars(system).update(change)
        assert system.stale(0) == why
        assert not system.wait_fresh(0, 0) and system.violations == [f"not fresh within 0 s: {why}"]

    def test_lag_and_confirmations(self, system: System) -> None:
        turn = system.watch.turns["payments.watchdog", 0]
        turn["lag"] = 101
        assert system.stale(0) == "payments.watchdog/0 lags by 101"
        turn["lag"] = 100
        system.watch.confirmed_at -= 60_000
        assert system.stale(0) == "nothing is confirmed"

    def test_a_broken_contract_that_the_watch_sees_is_a_violation(
        self, system: System, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken() -> None:
            raise MissingRecord("payments.journal/3: a hole")

        after = SimpleNamespace(repeats=0)
        monkeypatch.setattr("chaos.system.FreshWatch", lambda settings: after)
        vars(system).update(
            direct=None,
            tell=lambda line: None,
            watch=SimpleNamespace(check=broken, close=lambda: None, repeats=7),
        )
        system.check()
        assert system.violations == ["watch: payments.journal/3: a hole"] and vars(system)["watch"] is after

    def test_the_watch_knows_the_newest_confirmation_and_snapshots_without_room(self) -> None:
        watch: Any = FreshWatch.__new__(FreshWatch)
        watch._lock, watch._filters, watch.turns, watch.books, watch.repeats = threading.Lock(), {}, {}, Books(), 0
        event = PaymentConfirmed("p", "DEPOSIT", None, "a", Money(1, "EUR"), None, 1, 2, (1,))
        watch._book(Record(0, 77, b"p", REGISTRY.encode(event), None, ()))
        assert watch.confirmed_at == 77
        turns = [{"stage": "s", "lane": 0, "unsaved": n} for n in (2, 3)]
        records = [Record(n, 0, None, json.dumps(turn).encode(), None, ()) for n, turn in enumerate(turns)]
        watch._take(Topic(METRICS.name, 1), 0, records)
        assert watch.unsaved == 5


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def state(process: subprocess.Popen[bytes]) -> str:
    """T: stopped, S: asleep."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


class Quiet:
    """What `suffer` asks of a system, without one: it is fresh when it has been relaunched `needs` times."""

    def __init__(self, needs: int = 0, ended: bool = False) -> None:
        self.needs, self.ended, self.done = needs, ended, list[str]()
        self.violations: list[str] = []
        self.began, self.watch, self.job = time.monotonic(), self, self
        self.repeats = 0

    def start_dead(self) -> list[str]:
        return ["taskmanager-1"] if self.ended else []

    def mend(self) -> None:
        self.done.append("mend")

    def wait_fresh(self, since_ms: int) -> bool:
        self.done.append("wait")
        self.repeats = 5
        if not self.needs:
            return True
        self.needs -= 1
        return False

    def relaunch_all(self) -> None:
        self.done.append("relaunch")

    def check(self) -> None:
        if self.ended:
            raise UsageError("the job ended (1)")


class TestSuffering:
    def suffer(self, monkeypatch: pytest.MonkeyPatch, system: Quiet, touches: bool = True) -> Outcome:
        monkeypatch.setitem(FAULTS, "fake", lambda system, dice: Done(f"dice {dice}", 0, touches))
        return suffer(system, Planned(3, "fake", 0.0, 0.5))  # type: ignore[arg-type]

    def test_a_fault_and_its_recovery(self, monkeypatch: pytest.MonkeyPatch) -> None:
        system = Quiet()
        outcome = self.suffer(monkeypatch, system)
        assert (outcome.number, outcome.kind, outcome.what, outcome.repeats) == (3, "fake", "dice 0.5", 5)
        assert outcome.fresh_s is not None and system.done == ["wait", "mend"] and system.violations == []

    def test_a_job_that_does_not_come_back_is_launched_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        system = Quiet(needs=2)
        self.suffer(monkeypatch, system)
        assert system.done == ["wait", "relaunch", "wait", "relaunch", "wait", "mend"]

    def test_one_that_does_not_touch_the_job(self, monkeypatch: pytest.MonkeyPatch) -> None:
        system = Quiet()
        assert self.suffer(monkeypatch, system, touches=False).fresh_s is None and system.done == ["mend"]

    def test_a_launcher_that_has_ended_is_a_violation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        system = Quiet(ended=True)
        assert self.suffer(monkeypatch, system).what == "dice 0.5; taskmanager-1 had ended"
        assert system.violations == ["fault 3 (fake): the job ended (1)"]

    def test_a_control_that_did_not_double_is_provoked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        system: Any = Quiet()
        system.direct = None
        monkeypatch.setitem(FAULTS, "worker-kill", lambda system, dice: Done("", 0))
        monkeypatch.setattr("chaos.run.control_sink", lambda _: Control("c", 9, len(system.done) // 2, ""))
        assert provoke(system, 0) == 2 and system.done == ["wait", "wait"]
        monkeypatch.setattr("chaos.run.control_sink", lambda _: Control("c", 9, 0, ""))
        assert provoke(system, 0) == 5

    def test_stopped_processes_are_woken_in_any_case(self, sleeper: subprocess.Popen[bytes]) -> None:
        with pytest.raises(KeyError), stopped([sleeper.pid, 2**22 + 1]):
            assert wait_until(lambda: state(sleeper) == "T", 2, 0.01)
            raise KeyError
        assert wait_until(lambda: state(sleeper) == "S", 2, 0.01)


class TestHostile:
    def test_each_is_a_dead_letter_or_a_refusal(self) -> None:
        lines = hostile.lines("h", "4000001234567899")
        engine = Engine(Stage(Admission(DAY_MS), topics.INCOMING), REGISTRY)
        at, ended = int(time.time() * 1000), 0
        for line in lines:
            shard = engine.shard(topics.INCOMING.partition_of(line.key))
            outputs = shard.step(Record(0, at, line.key, line.value, None, ()))
            last = outputs[-1].event
            if isinstance(last, DeadLetter):
                assert len(outputs) == 1 and outputs[0].topic == DEAD_LETTERS.name
                assert "4000001234567899" not in f"{last.id} {last.code} {last.detail}"
            else:
                assert isinstance(last, PaymentStatus)
                assert last.status == ("ACTC" if line.name == "card as debtor" else "RJCT"), line.name
            ended += 1
        assert ended == len(lines) > 25

    def test_payments_on_one_partition(self) -> None:
        lines = hostile.payments("p", 5, "a", "b", partition=3)
        assert len({key for _, _, key, _ in lines}) == 5 and {where for _, where, _, _ in lines} == {3}


SOURCE = Source("payments.accounts", "payments.inflight", 0)


def entry(offset: int, version: int, amount: int, balance: int, leg: str = "CREDIT", prev: int | None = None) -> Record:
    event = LedgerEntry(
        "acc", version, f"p{version}", leg, "~outside/0", Money(amount, "EUR"), balance, balance, 0, -balance, 0
    )
    place = None if prev is None else Position(prev, 0)
    return Record(offset, 0, b"acc", REGISTRY.encode(event), Origin(SOURCE, version, 0, place), ())


class TestControls:
    JOURNAL = (
        entry(0, 1, 100, 100),
        entry(1, 2, 30, 70, "DEBIT", 1),
        entry(2, 2, 30, 70, "DEBIT", 1),  # a repeat
        entry(3, 3, 5, 70, "HOLD", 2),
    )

    def test_a_reader_without_the_filter_is_seen_to_be_wrong(self, tmp_path: Path) -> None:
        chunks = list(pack_chunks(topics.JOURNAL.name, 0, self.JOURNAL))
        write_topics(tmp_path, {topics.JOURNAL.name: 1}, chunks)
        control, violations = control_reader(tmp_path)
        assert violations == []
        assert control[:3] == ("reader without filter", 4, 1) and control.what == "1 accounts with a wrong balance"

    def test_a_filter_that_lets_repeats_pass_is_a_violation(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("chaos.checks.effective", list)
        write_topics(tmp_path, {topics.JOURNAL.name: 1}, pack_chunks(topics.JOURNAL.name, 0, self.JOURNAL))
        control, violations = control_reader(tmp_path)
        assert violations == ["payments.journal/0: 1 accounts are not the sum of their entries"]
        assert silent((control,)) == ["control reader without filter: nothing was doubled"]

    def test_what_is_no_entry_is_passed_by(self) -> None:
        assert wrong_balances([Record(0, 0, None, b"?", None, ()), entry(1, 1, 100, 90)]) == 1


OUTCOMES = (
    Outcome(1, "worker-kill", "kill -9", 3.2, 0.1, 8.0, 12),
    Outcome(2, "retention", "refused", 20.0, 1.0, None, 0),
    Outcome(3, "worker-kill", "kill -9", 30.0, 0.1, 4.0, 1234),
    Outcome(4, "broker-stop", "stopped", 50.0, 9.0, 10.5, 0),
)
RESULT = Result(
    *(7, 100, 1, 60.0, 6000, 50_000, 40_000, {"payments.journal": 3}, OUTCOMES, (Control("c", 9, 2, "wrong"),)),
    *((), (), ()),
)


class TestResults:
    def test_recovery(self) -> None:
        times = {"broker-stop": (1, 10.5, 10.5), "worker-kill": (2, 6.0, 8.0), "all": (3, 8.0, 10.5)}
        assert recovery(OUTCOMES) == times and recovery(()) == {}

    def test_a_file_and_a_table(self, tmp_path: Path) -> None:
        write_results(RESULT, tmp_path / "found.json")
        found = json.loads((tmp_path / "found.json").read_text())
        assert found == as_json(RESULT) and found["outcomes"][1]["fresh_s"] is None
        assert found["recovery"]["all"] == {"count": 3, "median_s": 8.0, "worst_s": 10.5}
        page = (tmp_path / "found.md").read_text()
        assert "- no violation\n" in page and "| all | 3 | 8.0 | 10.5 |\n" in page and page.count("| kill -9 |") == 2
        write_results(RESULT._replace(violations=("payments.journal/3: x",)), tmp_path / "found.json")
        assert (tmp_path / "found.md").read_text().endswith("\n- payments.journal/3: x\n")
        assert table(OUTCOMES)[3:5] == [
            "| 2 | retention | refused | 20 | 1.0 | – | 0 |",
            "| 3 | worker-kill | kill -9 | 30 | 0.1 | 4.0 | 1,234 |",
        ]

    def test_in_words(self) -> None:
        lines = summary(RESULT)
        assert lines[2:] == [
            "fresh again after 8.0 s (median), 10.5 s (worst)",
            "control c: 2 of 9 doubled: wrong",
            "checkpoints and memory: not judged, 0 calm moments are too few (9 or more: --faults 8)",
            "no violation",
        ]
        assert summary(RESULT._replace(violations=("x",), outcomes=()))[-1] == "1 violations"


class TestCommand:
    def test_it_is_in_the_catalog(self) -> None:
        assert "chaos" in [entry.name for entry in pipelines(Path(command.__file__).parent)]

    def test_kinds(self) -> None:
        assert command.chosen("", ["a", "b"]) == ["a", "b"] and command.chosen("b, a", ["a", "b"]) == ["b", "a"]
        for kinds, why in (("a,c", "no such fault: 'c'"), ("a,a", "stands there twice")):
            with pytest.raises(UsageError, match=why):
                command.chosen(kinds, ["a", "b"])

    @pytest.mark.parametrize("flag", ["--faults=-1", "--rate=0", "--lanes=9", "--kinds=nosuch", "--results=x.md"])
    def test_nonsense_is_refused_before_anything_starts(self, flag: str) -> None:
        with pytest.raises(UsageError):
            command.run([flag])


def test_the_broker_sends_clients_back_to_the_proxy(tmp_path: Path) -> None:
    kafka = ProxiedKafka(Kafka(tmp_path, 24192, 24193), 24112, 24111, "s3cret", None)
    lines = dict(line.split("=", 1) for line in kafka.properties().splitlines())
    assert "SECURE://127.0.0.1:24112" in lines["listeners"]
    assert lines["advertised.listeners"] == "PLAINTEXT://127.0.0.1:24192,SECURE://127.0.0.1:24111"
    assert 24112 in kafka.listens_on()


def test_the_tests_that_the_guarantees_name_are_there(root: Path) -> None:
    text = (root / "docs" / "guarantees.md").read_text(encoding="utf-8")
    named, missing = 0, []
    for row in text.splitlines():
        source = ""
        for name in re.findall(r"`([^`]+)`", row):
            file, _, rest = name.partition("::")
            if file.startswith("test_") and file.endswith(".py"):
                source = "".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob(file))
            elif name.startswith("test_"):
                rest = name
            for part in filter(None, rest.split("::")):
                named += 1
                if not re.search(rf"^ *(def|class) {part}\b", source, re.MULTILINE):
                    missing.append(name)
        for kind in re.findall(r"chaos: ((?:`[a-z-]+`(?:, )?)+)", row):
            missing += [name for name in re.findall(r"`([^`]+)`", kind) if name not in FAULTS]
    assert missing == [] and named > 20
