"""Preflight: what makes a live launch unsafe, each in one line, before anything is started."""

import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from pipelines.live_options import CALM, LiveOptions, knobs_of, on_flink
from pipelines.topics import METRICS
from stack.services import accepts
from transforms.kafka_settings import FETCH_WAIT, KafkaSettings, fetch_wait_error
from transforms.kafka_topics import KafkaTopics
from transforms.log_reader import ReadKnobs
from transforms.topic_settings import TopicSettings

REFUSED = {
    "setup_file": "it runs a file on the workers",
    "extra_package": "it loads code into the workers",
    "extra_packages": "it loads code into the workers",
    "requirements_file": "it loads code into the workers",
    "beam_plugin": "it loads code into the workers",
    "beam_plugins": "it loads code into the workers",
    "sdk_location": "it loads code into the workers",
    "file_to_stage": "it sends files to the workers",
    "files_to_stage": "it sends files to the workers",
    "pickle_library": "it changes how code is sent",
    "save_main_session": "it sends what the launcher holds in memory",
    "state_backend_factory": "it loads a class into Flink",
    "flink_job_server_jar": "it runs a jar",
    "flink_submit_uber_jar": "it runs a jar",
    "maven_repository_url": "it loads jars from there",
    "prebuild_sdk_container_engine": "it builds and runs containers",
    "output_executable_path": "it writes a job instead of running it",
}
"""Flags of Beam's that a live job does not take, and why."""

LEAST_INTERVAL_MS = 100
_LIMIT = "data_buffer_time_limit_ms"


def check_flags(flags: Mapping[str, str], snapshots: str | None) -> list[str]:
    """What is wrong with the flags of a live job, a line each. `snapshots` is None for a job that has none."""
    found = [f"--{name} is not taken: {why}" for name, why in REFUSED.items() if name in flags]
    if "." in flags.get("runner", ""):
        found.append(f"--runner={flags['runner']} is not taken: it loads a class by its name")
    if any(_LIMIT in flags.get(name, "") for name in ("experiment", "experiments")):
        found.append(f"--experiments={_LIMIT} is not taken: it leaves a thread in Flink for each bundle")
    if snapshots == "":
        found.append(
            "--snapshots is missing: a folder for the snapshots of the shards, on a file system that all workers see"
        )
    if "streaming" not in flags:
        found.append("--streaming is missing: the job has no end")
    if on_flink(flags):
        found += _check_flink(flags)
    return found


def _check_flink(flags: Mapping[str, str]) -> list[str]:
    found = []
    interval = flags.get("checkpointing_interval")
    if interval is None:
        found.append("--checkpointing_interval is missing (ms): without it Flink takes no checkpoints")
    elif not interval.isdigit() or int(interval) < LEAST_INTERVAL_MS:
        found.append(f"--checkpointing_interval={interval}: must be a number of ms from {LEAST_INTERVAL_MS}")
    if "finish_bundle_before_checkpointing" not in flags:
        found.append("--finish_bundle_before_checkpointing is missing: without it one launch in three never starts")
    if flags.get(CALM):
        found.append(f"--{CALM}={flags[CALM]}: takes no value: being there at all turns it off")
    if flags.get("runner", "").lower().startswith("portable") and not flags.get("job_endpoint"):
        found.append("--job_endpoint is missing: HOST:PORT of Beam's job server")
    kind = flags.get("environment_type", "").upper()
    if kind not in ("EXTERNAL", "LOOPBACK"):
        found.append(
            f"--environment_type={kind or '?'}: must be EXTERNAL (a pool of workers) or LOOPBACK (this process)"
        )
    elif kind == "EXTERNAL" and not flags.get("environment_config"):
        found.append("--environment_config is missing: HOST:PORT of the pool of workers")
    return found


def check_places(flags: Mapping[str, str]) -> list[str]:
    """Job server and worker pool on this machine that nobody listens at."""
    found = []
    for name, what in (
        ("job_endpoint", "no job server there (./run_local.sh stack up --workers 1)"),
        (
            "environment_config",
            "no pool of workers there (./run_local.sh stack up --workers 1), or take --environment_type=LOOPBACK",
        ),
    ):
        host, _, port = flags.get(name, "").partition(":")
        if host in ("127.0.0.1", "localhost") and port.isdigit() and not accepts(int(port)):
            found.append(f"--{name}={host}:{port}: {what}")
    return found


def check_snapshots(place: str) -> list[str]:
    """Whether snapshots can be written there; a local folder is made."""
    try:
        if "://" not in place:
            folder = Path(place).expanduser()
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        else:
            FileSystems.match([f"{place.rstrip('/')}/*"])
    except Exception as error:  # file systems raise errors of many kinds, all of them about this place
        return [
            f"--snapshots={place}: cannot be used: {getattr(error, 'strerror', None) or ' '.join(str(error).split())}"
        ]
    return []


def check_topics(settings: KafkaSettings, wanted: Sequence[TopicSettings]) -> list[str]:
    """How the topics on the broker differ from what the stages need; KafkaFailure when it cannot be asked.

    How many replicas there are is the cluster's business, and where it has fewer than `topics` would make, that was meant.
    """
    topics = KafkaTopics(settings)
    try:
        differences = topics.differences([replace(topic, replicas=1, in_sync=1) for topic in wanted])
    finally:
        topics.close()
    lines = [str(each) for each in differences if each.what != "min.insync.replicas"]
    return [f"{line} (./run_local.sh topics makes it)" if line.endswith(": missing") else line for line in lines]


def check_reading(settings: KafkaSettings, knobs: ReadKnobs) -> list[str]:
    """Whether fetches may be held for as long as the knobs say; a time in the settings, which have checked it, counts instead."""
    properties = dict(settings.properties)
    if FETCH_WAIT in properties:
        return []
    wrong = fetch_wait_error(properties, "read.fetch_wait_ms", str(knobs.fetch_wait_ms))
    return [] if wrong is None else [f"--knob {wrong}"]


def is_safe(
    options: LiveOptions, flags: Mapping[str, str], settings: KafkaSettings, wanted: Sequence[TopicSettings]
) -> bool:
    """Whether stages that need these topics may be launched live; what is wrong is printed, a line each, the flags before all else."""
    if refused([*check_flags(flags, options.snapshots), *check_reading(settings, knobs_of(options).read)]):
        return False
    wanted = [*wanted, *([] if options.no_metrics else [METRICS])]
    return not refused([*check_places(flags), *check_snapshots(options.snapshots), *check_topics(settings, wanted)])


def refused(problems: Iterable[str]) -> bool:
    """Prints the problems, a line each; whether there are any."""
    found = list(problems)
    for line in found:
        print(f"refused: {line}", file=sys.stderr)
    return bool(found)
