"""Flags of live jobs: what the local stack adds, what is refused, and why."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from auctions.live_stages import PATIENT
from payments import topics
from payments.live_stages import KINDS, WATCHDOG
from payments.topics import SETTINGS
from pipelines import preflight
from pipelines.auction_jobs import NAMES, kind_of
from pipelines.common import UsageError
from pipelines.live_options import (
    POINTS,
    broker_settings,
    flink_defaults,
    given_flags,
    knobs_of,
    on_flink,
    parse_live,
    with_defaults,
)
from pipelines.payments_live import PaymentsLiveOptions
from pipelines.preflight import check_flags, check_places, check_snapshots, check_topics, is_safe, refused
from stack.ports import Ports
from transforms.kafka_settings import PREFIX, kafka_settings
from transforms.topic_settings import Difference

PORTS = Ports.of(23000)
SAFE = given_flags(with_defaults(["--snapshots=s"], PORTS))


def test_a_launch_with_nothing_said_is_safe_on_the_local_stack() -> None:
    assert {"snapshots": "s", **flink_defaults(1, PORTS)} == SAFE
    assert check_flags(SAFE, "s") == []
    assert (SAFE["job_endpoint"], SAFE["environment_config"]) == ("127.0.0.1:23099", "127.0.0.1:23070")


def test_what_is_said_is_kept_and_lanes_say_the_workers() -> None:
    given = given_flags(
        with_defaults(["--lanes", "4", "--checkpointing_interval=500", "--environment_type=LOOPBACK"], PORTS)
    )
    assert (given["parallelism"], given["sdk_worker_parallelism"]) == ("4", "4")
    assert (given["checkpointing_interval"], given["environment_type"]) == ("500", "LOOPBACK")
    assert "environment_config" not in given
    assert given_flags(with_defaults(["--lanes=x"], PORTS))["parallelism"] == "1"


@pytest.mark.parametrize("named", ["--runner=FlinkRunner", "--job_endpoint=there:8099"])
def test_nothing_is_added_for_another_cluster(named: str) -> None:
    assert with_defaults([named, "--snapshots=s"], PORTS) == [named, "--snapshots=s"]


def test_given_flags_are_read_in_both_forms() -> None:
    words = ["--a=1", "--b", "2", "--c", "--d", "--a=3", "stray", "--e=x=y"]
    assert given_flags(words) == {"a": "3", "b": "2", "c": "", "d": "", "e": "x=y"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"checkpointing_interval": None}, "--checkpointing_interval is missing"),
        ({"checkpointing_interval": "-1"}, "--checkpointing_interval=-1: must be"),
        ({"checkpointing_interval": "50"}, "--checkpointing_interval=50: must be"),
        ({"finish_bundle_before_checkpointing": None}, "--finish_bundle_before_checkpointing is missing"),
        ({"fail_on_checkpointing_errors": "false"}, "--fail_on_checkpointing_errors=false: takes no value"),
        ({"streaming": None}, "--streaming is missing"),
        ({"job_endpoint": None}, "--job_endpoint is missing"),
        ({"environment_type": None}, "--environment_type=?: must be"),
        ({"environment_type": "PROCESS"}, "--environment_type=PROCESS: must be"),
        ({"environment_config": None}, "--environment_config is missing"),
        ({"setup_file": "x.py"}, "--setup_file is not taken: it runs"),
        ({"beam_plugins": "x"}, "--beam_plugins is not taken: it loads"),
        ({"state_backend_factory": "x.Y"}, "--state_backend_factory is not taken: it loads"),
        ({"runner": "some.module.Runner"}, "--runner=some.module.Runner is not taken: it loads"),
        ({"experiments": "data_buffer_time_limit_ms=5"}, "--experiments=data_buffer_time_limit_ms is not taken"),
    ],
)
def test_an_unsafe_launch_is_one_line(change: dict[str, str | None], told: str) -> None:
    flags = {name: value for name, value in {**SAFE, **change}.items() if value is not None}
    (line,) = check_flags(flags, "s")
    assert line.startswith(told) and "\n" not in line


def test_no_place_for_snapshots() -> None:
    (line,) = check_flags(SAFE, "")
    assert line.startswith("--snapshots is missing")
    assert check_flags(SAFE, None) == []


def test_prism_needs_nothing_of_flink() -> None:
    flags = {"runner": "PrismRunner", "streaming": ""}
    assert check_flags(flags, "s") == [] and not on_flink(flags)
    assert (
        on_flink({"runner": "FlinkRunner"}) and on_flink({"runner": "portable"}) and not on_flink({"runner": "direct"})
    )


@pytest.mark.parametrize(
    ("flag", "told"),
    [("--lanes=0", "lanes"), ("--lanes=17", "lanes"), ("--snapshot_s=0", "above 0"), ("--nosuch", "unknown")],
)
def test_flags_out_of_range(flag: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_live(["--snapshots=s", flag], PaymentsLiveOptions)


def test_help_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_live(["--help"], PaymentsLiveOptions)
    assert "--snapshots" in capsys.readouterr().out


# --- the broker ---


def options(**values: str) -> PaymentsLiveOptions:
    return PaymentsLiveOptions([f"--{name}={value}" for name, value in values.items()])


def test_the_broker_is_the_named_one_or_the_stacks(tmp_path: Path) -> None:
    stack = {"BEAM_ON_RAILS_PORTS": "24000", "BEAM_ON_RAILS_PORT_KAFKA_CONTROLLER": "24555"}
    assert broker_settings(options(), stack).servers == "127.0.0.1:24092"
    assert broker_settings(options(), {"BEAM_ON_RAILS_PORT_KAFKA": "7777"}).servers == "127.0.0.1:7777"
    assert broker_settings(options(bootstrap="there:9092"), stack).servers == "there:9092"
    file = tmp_path / "kafka.properties"
    file.write_text("bootstrap.servers=far:1\n")
    assert broker_settings(options(kafka_config=str(file)), stack).servers == "far:1"
    assert broker_settings(options(kafka_config=str(file), bootstrap="near:2"), stack).servers == "near:2"


# --- what can be looked at ---


def test_nobody_listens_there() -> None:
    flags = {"job_endpoint": "127.0.0.1:1", "environment_config": "localhost:1"}
    first, second = check_places(flags)
    assert first.startswith("--job_endpoint=127.0.0.1:1: no job server") and "no pool of workers" in second
    assert check_places({"job_endpoint": "elsewhere:1"}) == [] == check_places({})


def test_places_for_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_snapshots(str(tmp_path / "a" / "b")) == [] and (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    (line,) = check_snapshots(str(tmp_path / "file"))
    assert "cannot be used: " in line
    asked: list[object] = []
    with monkeypatch.context() as patched:
        patched.setattr(preflight.FileSystems, "match", asked.append)
        assert check_snapshots("store://bucket/x/") == [] and asked == [["store://bucket/x/*"]]
    (line,) = check_snapshots("nosuch://bucket/x")
    assert line.startswith("--snapshots=nosuch://bucket/x: cannot be used: ")


class FakeTopics:
    found: ClassVar[list[Difference]] = []
    closed = 0

    def __init__(self, settings: object) -> None:
        pass

    def differences(self, topics: list[object]) -> Iterator[Difference]:
        assert {(topic.replicas, topic.in_sync) for topic in topics} == {(1, 1)}  # type: ignore[attr-defined]
        return iter(self.found)

    def close(self) -> None:
        FakeTopics.closed += 1


def test_topics_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeTopics.found = [
        Difference("a", "topic", "missing", ""),
        Difference("b", "message.timestamp.type", "CreateTime", "LogAppendTime"),
        Difference("c", "min.insync.replicas", "2", "1"),
    ]
    monkeypatch.setattr(preflight, "KafkaTopics", FakeTopics)
    assert check_topics(SimpleNamespace(), SETTINGS) == [  # type: ignore[arg-type]
        "a: missing (./run_local.sh topics makes it)",
        "b: message.timestamp.type is CreateTime, should be LogAppendTime",
    ]
    assert FakeTopics.closed == 1


@pytest.mark.parametrize(
    ("properties", "flags", "told"),
    [
        ({}, ["--knob=read.fetch_wait_ms=9001"], "read.fetch_wait_ms=9001 must be 1000 below socket.timeout.ms=10000"),
        ({"SOCKET_TIMEOUT_MS": "1009"}, ["--point=throughput"], "read.fetch_wait_ms=10 must be 1000 below socket.timeout.ms=1009"),
        ({"SOCKET_TIMEOUT_MS": "1010"}, ["--point=throughput"], ""),
        ({"SOCKET_TIMEOUT_MS": "60000"}, ["--knob=read.fetch_wait_ms=9001"], ""),
        ({}, ["--knob=read.fetch_wait_ms=9000"], ""),
        ({"FETCH_WAIT_MAX_MS": "5"}, ["--knob=read.fetch_wait_ms=9001"], ""),  # the settings win over the knob
    ],
)
def test_a_fetch_may_not_be_held_for_longer_than_the_client_waits(
    properties: dict[str, str],
    flags: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = kafka_settings("b:1", environment={PREFIX + name: value for name, value in properties.items()})
    asked: list[object] = []

    def check_topics(_: object, wanted: list[object]) -> list[str]:
        asked.extend(wanted)
        return []

    monkeypatch.setattr(preflight, "check_places", lambda flags: [])
    monkeypatch.setattr(preflight, "check_topics", check_topics)
    place = f"--snapshots={tmp_path}"
    options, given = parse_live([place, *flags], PaymentsLiveOptions)
    assert is_safe(options, given, settings, SETTINGS) == (not told) == (len(asked) == len(SETTINGS) + 1)
    said = capsys.readouterr().err
    assert said == (f"refused: --knob {told}, or what is asked behind a fetch times out\n" if told else "")


def test_problems_are_printed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(iter(["one", "two"])) and not refused([])
    assert capsys.readouterr().err == "refused: one\nrefused: two\n"


def test_knobs_are_turned_over_those_of_the_point() -> None:
    argv = [
        "--snapshots=s",
        "--point=throughput",
        "--snapshot_s=7",
        "--knob",
        "write.linger_ms=2.5",
        "--knob=lane.step_records=9",
    ]
    argv += ["--knob=headings.trace=true", "--knob=write.held=a,b", "--knob=write.compression=zstd"]
    knobs = knobs_of(parse_live(argv, PaymentsLiveOptions)[0], topics.PATIENT)
    assert (knobs.write.linger_ms, knobs.lane.step_records, knobs.lane.snapshot_s) == (2.5, 9, 7)
    assert (knobs.headings.trace, knobs.write.held, knobs.write.compression) == (True, {"a", "b"}, "zstd")
    assert knobs.lane.lease_ms == 1_000, "what is not named stays as the point has it"


@pytest.mark.parametrize(
    ("knob", "told"),
    [
        ("lane.linger_ms=1", "is not NAME=VALUE of lane.stay_ms, "),
        ("lane.stay_ms", "is not NAME=VALUE of"),
        ("stay_ms=1", "is not NAME=VALUE of"),
        ("lane.stay_ms=x", "invalid literal"),
        ("lane.stay_ms=-1", "stay_ms must be from 0 to 10000, got -1"),
        ("headings.trace=yes", "must be true or false"),
    ],
)
def test_knobs_that_there_are_not(knob: str, told: str) -> None:
    options, _ = parse_live(["--snapshots=s", f"--knob={knob}"], PaymentsLiveOptions)
    with pytest.raises(UsageError, match=told) as caught:
        knobs_of(options)
    assert "--knob" in str(caught.value)


@pytest.mark.parametrize("point", sorted(POINTS))
def test_the_points_keep_back_only_what_no_hop_waits_for(point: str) -> None:
    options = parse_live(["--snapshots=s", f"--point={point}"], PaymentsLiveOptions)[0]
    write = knobs_of(options, topics.PATIENT).write
    assert (write.hold_ms, write.held) == (100, {"payments.journal", "payments.status", "payments.balances"})


def test_what_a_stage_of_a_job_reads_is_never_kept_back() -> None:
    assert not {kind_of(name).topic for name in NAMES} & set(PATIENT)
    waited_for = {kind.topic for kind in KINDS if kind is not WATCHDOG}  # which only looks on
    assert not waited_for & set(topics.PATIENT)
