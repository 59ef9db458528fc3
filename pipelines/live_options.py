"""Flags that all live jobs share: the broker, snapshots, lanes, and what Flink is told where the local stack runs the job.

With neither `--runner` nor `--job_endpoint` a job goes to the local stack (`./run_local.sh stack up --workers 1`), and flags that are not
given have the values of `flink_defaults`. A job for any other cluster says all of them itself: `preflight` names what is missing.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from pipelines.common import JobOptions, UsageError, check_range, parse_options, runs_in_process
from stack.ports import Ports
from transforms.fold import Topic
from transforms.fold_log import FoldLogKnobs
from transforms.kafka_headers import Headings
from transforms.kafka_settings import KafkaSettings, kafka_settings
from transforms.lane_types import LaneKnobs
from transforms.log_reader import ReadKnobs
from transforms.log_writer import WriteKnobs

HOST = "127.0.0.1"
CHECKPOINT_MS = 5_000
MAX_LANES = 16

BARE = ("finish_bundle_before_checkpointing", "streaming")
"""Flags without a value that every live job needs; why: docs/operations.md."""

CALM = "fail_on_checkpointing_errors"
"""Given without a value it turns this off: it is on at the job server, and Python makes a switch of what is on there."""

POINTS: dict[str, FoldLogKnobs] = {
    "latency": FoldLogKnobs(
        lane=LaneKnobs(stay_ms=1_000, step_records=500, lease_ms=1_000),
        read=ReadKnobs(fetch_wait_ms=20),
        write=WriteKnobs(hold_ms=100, compression="none"),
    ),
    "throughput": FoldLogKnobs(
        lane=LaneKnobs(stay_ms=1_000, lease_ms=1_000),
        read=ReadKnobs(fetch_wait_ms=10, fetch_min_bytes=100_000),
        write=WriteKnobs(linger_ms=2, hold_ms=100),
        headings=Headings(trace=False),
    ),
}
"""The operating points (docs/operations.md). A request costs a broker more than the few records in it: so what nobody waits for travels
together, which topics that are says the job, and under load fetches wait for company too."""

_Options = TypeVar("_Options", bound="BrokerOptions")


class BrokerOptions(JobOptions):
    """Base of options that say where the broker is. (Beam adds the flags of each class of a hierarchy, so that bases have none.)"""

    @staticmethod
    def add_broker(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bootstrap", default="", help="HOST:PORT of a broker; that of the local stack by default")
        parser.add_argument(
            "--kafka_config", default="", help="file of Kafka properties (NAME=VALUE), secrets by reference"
        )

    @staticmethod
    def add_shape(parser: argparse.ArgumentParser) -> None:
        """What shape a live job has."""
        parser.add_argument("--lanes", type=int, default=1, help="workers that fold each stage")
        parser.add_argument("--point", choices=sorted(POINTS), default="latency", help="what to be good at")


class LiveOptions(BrokerOptions):
    """Base of the options of a live job: stages that fold topics of Kafka for ever."""

    @classmethod
    def add_live(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_broker(parser)
        parser.add_argument(
            "--snapshots", default="", help="folder for snapshots of the shards, on a file system that all workers see"
        )
        cls.add_shape(parser)
        parser.add_argument(
            "--knob",
            action="append",
            default=[],
            metavar="PART.NAME=VALUE",
            help="of the stages, over those of --point: lane.stay_ms=200, write.linger_ms=10 … (docs/fold-log.md)",
        )
        parser.add_argument(
            "--snapshot_s",
            type=float,
            default=60.0,
            help="a shard that has moved gets a snapshot after so many seconds",
        )
        parser.add_argument(
            "--no_metrics", action="store_true", help="do not write a line per turn of a lane to rails.metrics"
        )


def knobs_of(options: LiveOptions, patient: Sequence[Topic] = ()) -> FoldLogKnobs:
    """The knobs of the stages of a job in which no hop waits for the `patient` topics.

    UsageError for a knob that there is not, or with a value that it does not take."""
    point = POINTS[options.point]
    held = frozenset(topic.name for topic in patient)
    knobs = replace(
        point, lane=replace(point.lane, snapshot_s=options.snapshot_s), write=replace(point.write, held=held)
    )
    for given in options.knob:
        knobs = _turned(knobs, given)
    return knobs


def _turned(knobs: FoldLogKnobs, given: str) -> FoldLogKnobs:
    place, sign, value = given.partition("=")
    known = {
        f"{part.name}.{knob.name}": knob.type for part in fields(knobs) for knob in fields(getattr(knobs, part.name))
    }
    if not sign or place not in known:
        raise UsageError(f"{given!r} is not NAME=VALUE of {', '.join(known)}", "--knob")
    part, _, name = place.partition(".")
    try:
        return replace(knobs, **{part: replace(getattr(knobs, part), **{name: _read_as(known[place], value)})})
    except ValueError as error:
        raise UsageError(f"{given!r}: {error}", "--knob") from error


def _read_as(kind: Any, value: str) -> Any:
    if kind is bool:
        if value not in ("true", "false"):
            raise ValueError("must be true or false")
        return value == "true"
    return kind(value) if kind in (int, float, str) else frozenset(filter(None, value.split(",")))


def chosen(only: str, names: Sequence[str]) -> list[str]:
    """The stages that `--only` names, by commas; all of the job if it is empty. UsageError for one that the job has not."""
    wanted = [name.strip() for name in only.split(",") if name.strip()] or list(names)
    if unknown := [name for name in wanted if name not in names]:
        raise UsageError(f"no stage of this job, which has {', '.join(names)}: {', '.join(unknown)}", "--only")
    return wanted


def broker_settings(options: BrokerOptions, environment: Mapping[str, str] | None = None) -> KafkaSettings:
    """The settings of the Kafka clients; `--bootstrap` counts before the file, the local stack's broker where neither is given."""
    environment = os.environ if environment is None else environment
    bootstrap = options.bootstrap or None
    if bootstrap is None and not options.kafka_config:
        bootstrap = f"{HOST}:{Ports.from_environment(environment).kafka}"
    return kafka_settings(bootstrap, options.kafka_config or None, environment)


def broker_flags(options: Any) -> list[str]:
    """The flags of `BrokerOptions` with which these options say where the broker is."""
    return [f"--{name}={getattr(options, name)}" for name in ("bootstrap", "kafka_config") if getattr(options, name)]


def given_flags(argv: Sequence[str]) -> dict[str, str]:
    """The flags of a command line with their values, the last where one is given twice; "" for those without one."""
    found: dict[str, str] = {}
    name = ""
    for word in argv:
        if word.startswith("--"):
            name, sign, value = word[2:].partition("=")
            found[name] = value
            name = "" if sign else name
        elif name:
            found[name], name = word, ""
    return found


def flink_defaults(lanes: int, ports: Ports | None = None) -> dict[str, str]:
    """What Flink is told on the local stack, unless the command line says otherwise; "" for flags without a value."""
    ports = Ports.from_environment() if ports is None else ports
    return {
        "runner": "PortableRunner",
        "job_endpoint": f"{HOST}:{ports.jobserver}",
        "environment_type": "EXTERNAL",
        "environment_config": f"{HOST}:{ports.workers}",
        "parallelism": str(lanes),
        "sdk_worker_parallelism": str(lanes),
        "checkpointing_interval": str(CHECKPOINT_MS),
        "max_bundle_time_mills": "20",  # no output waits longer in Flink
        **dict.fromkeys((*BARE, CALM), ""),
    }


def with_defaults(argv: Sequence[str], ports: Ports | None = None) -> list[str]:
    """The command line with the defaults of the local stack, or as it is where another runner or job server is named."""
    given = given_flags(argv)
    if "runner" in given or "job_endpoint" in given:
        return list(argv)
    lanes = given.get("lanes", "1")
    defaults = flink_defaults(int(lanes) if lanes.isdigit() else 1, ports)
    if "environment_type" in given:  # another one needs no pool
        del defaults["environment_config"]
    added = [f"--{name}" + (f"={value}" if value else "") for name, value in defaults.items() if name not in given]
    return [*argv, *added]


def parse_live(argv: Sequence[str], cls: type[_Options], endless: bool = True) -> tuple[_Options, dict[str, str]]:
    """The options of a live job, and all its flags as they are given or added; UsageError as `parse_options`.

    A job with an end runs where its flags say, by default in this process.
    """
    full = list(argv) if not endless or {"--help", "-h"} & set(argv) else with_defaults(argv)
    options = parse_options(full, cls)
    if isinstance(options, LiveOptions):
        check_range(options, lanes=(1, MAX_LANES))
        if options.snapshot_s <= 0:
            raise UsageError(f"must be above 0, got {options.snapshot_s:g}", "--snapshot_s")
    return options, given_flags(full)


def on_flink(flags: Mapping[str, str]) -> bool:
    """Whether the flags name Flink: by its own runner, or by a job server."""
    runner = flags.get("runner", "").lower().removesuffix("runner")
    return runner in ("portable", "flink") and not runs_in_process(flags.get("runner"))
