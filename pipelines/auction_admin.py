"""Administration of auctions: thresholds of fraud, an auction taken off, the version of a stage's rules pinned.

`auction_admin ACTION --flags`, ACTION one of rule, cancel, version. Flags: docs/pipelines/auction_admin.md.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from auctions.administration import cancel_lines, threshold_lines
from auctions.fraud_rules import BUILT_IN
from payments.administration import version_lines
from payments.topics import SETTINGS as PAYMENT_SETTINGS
from pipelines.administration import MOST_NUMBER, AdminOptions, Command, administer, identity_of
from pipelines.auction_stages import CLIENT_TOPICS, SETTINGS, STAGES
from pipelines.common import UsageError, check_range, main
from pipelines.registry import REGISTRY

VERSIONED = tuple(stage.kind for stage in STAGES.values() if stage.kind.topic not in CLIENT_TOPICS)
"""Stages whose topics no client writes: those that take a Version."""

_MOST = (1 << 63) - 1


class RuleOptions(AdminOptions):
    """Changes the thresholds of a signal of fraud, or switches it off."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_common(parser)
        parser.add_argument("--name", required=True, help=", ".join(BUILT_IN))
        parser.add_argument("--number", type=int, required=True, help="version of the rule; only a higher one counts")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a threshold; those that are not given are the built-in ones",
        )
        parser.add_argument("--off", action="store_true", help="raise no alerts of this signal")


class CancelOptions(AdminOptions):
    """Takes an auction off that is not over."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_broker(parser)
        parser.add_argument("--auction", required=True, help="auction id")
        parser.add_argument("--reason", required=True, help="why")


class VersionOptions(AdminOptions):
    """Pins the version of a stage's rules."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_version(parser, "auctions.house")


ACTIONS: dict[str, type[AdminOptions]] = {"rule": RuleOptions, "cancel": CancelOptions, "version": VersionOptions}


def command_of(action: str, options: Any, now_ms: int) -> Command:
    """What an action writes; UsageError for a value that no stage would take."""
    if action == "cancel":
        try:
            return Command("", 0, cancel_lines(options.auction, options.reason, REGISTRY.encode))
        except ValueError as error:
            raise UsageError(str(error)) from error
    admin_id, at = identity_of(action, options, now_ms)
    check_range(options, number=(1, MOST_NUMBER))
    if action == "version":
        try:
            lines = version_lines(admin_id, VERSIONED, options.stage, options.number, REGISTRY.encode)
        except ValueError as error:
            raise UsageError(str(error), "--stage") from error
        return Command(admin_id, at, lines)
    parameters = dict(_parameter(given) for given in options.set)
    if options.off and parameters:
        raise UsageError("a rule that is off has no thresholds", "--set")
    try:
        lines = threshold_lines(admin_id, options.name, options.number, not options.off, parameters, REGISTRY.encode)
    except ValueError as error:
        raise UsageError(str(error), "--set" if options.name in BUILT_IN else "--name") from error
    return Command(admin_id, at, lines)


def _parameter(given: str) -> tuple[str, int]:
    name, _, value = given.partition("=")
    try:
        number = int(value)
    except ValueError:
        number = -1
    if not 0 <= number <= _MOST:
        raise UsageError(f"{given!r} is not NAME=VALUE with a whole number from 0", "--set")
    return name, number


def run(argv: Sequence[str]) -> int:
    return administer(argv, ACTIONS, command_of, (*SETTINGS, *PAYMENT_SETTINGS))


if __name__ == "__main__":
    main(run)
