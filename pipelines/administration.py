"""What the commands of administrators share: an action and its flags become records, which are written to the topics of a broker.

A command prints the id and the time of its action: with them it makes the same bytes again, which count as a repeat (contract line 11).
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from payments.administration import Written
from payments.admission import MAX_ID_CHARS
from pipelines.common import UsageError, check_range, parse_options
from pipelines.live_options import BrokerOptions, broker_settings
from pipelines.live_writer import LiveWriter
from pipelines.preflight import check_topics, refused
from transforms.topic_settings import TopicSettings

MOST_NUMBER = (1 << 31) - 1
"""Versions of rules are ints."""


class AdminOptions(BrokerOptions):
    """Base of the options of an action."""

    @classmethod
    def add_common(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_broker(parser)
        parser.add_argument("--admin_id", default="", help="id of the action; one of its content and time by default")
        parser.add_argument(
            "--at", type=int, default=0, help="claimed time of the action, ms since 1970; now by default"
        )

    @classmethod
    def add_version(cls, parser: argparse.ArgumentParser, example: str) -> None:
        cls.add_common(parser)
        parser.add_argument("--stage", required=True, help=f"such as {example}")
        parser.add_argument("--number", type=int, required=True, help="version of the rules; only a higher one counts")


class Command(NamedTuple):
    """What an action writes. Without `admin_id`: the event has none, and a repeat is told by what it says."""

    admin_id: str
    at: int
    lines: list[Written]


def identity_of(action: str, options: Any, now_ms: int) -> tuple[str, int]:
    """(id of the action, its claimed time); UsageError for one that no stage would take."""
    check_range(options, at=(0, 1 << 46))
    at = options.at or now_ms
    admin_id = options.admin_id or f"{action}-{at}"
    if len(admin_id) > MAX_ID_CHARS:
        raise UsageError(f"at most {MAX_ID_CHARS} characters", "--admin_id")
    return admin_id, at


def administer(
    argv: Sequence[str],
    actions: Mapping[str, type[AdminOptions]],
    command_of: Callable[[str, Any, int], Command],
    table: Sequence[TopicSettings],
) -> int:
    """Runs the action that comes first in `argv`. `command_of(action, options, now_ms)` raises UsageError for a value that no stage would
    take; `table` is what its topics have to be like. 2 when one is not."""
    action = argv[0] if argv else ""
    if action not in actions:
        raise UsageError(f"say first what to do: {', '.join(actions)}", action or None)
    options = parse_options(argv[1:], actions[action])
    command = command_of(action, options, int(time.time() * 1000))
    written = list(dict.fromkeys(topic for topic, *_ in command.lines))
    settings = broker_settings(options)
    if refused(check_topics(settings, [topic for topic in table if topic.name in written])):
        return 2
    writer = LiveWriter(settings)
    try:
        writer.write(command.lines)
        writer.flush()
    finally:
        writer.close()
    count = len(command.lines)
    print(f"written: {action} to {count} partition{'s' if count > 1 else ''} of {' and '.join(written)}")
    if command.admin_id:
        print(f"the same once more: add --admin_id={command.admin_id} --at={command.at}")
    return 0
