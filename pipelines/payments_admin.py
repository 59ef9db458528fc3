"""Administration: open, limit, freeze or close an account, put a velocity rule in force, pin the version of a stage's rules.

`payments_admin ACTION --flags`, ACTION one of open, limit, freeze, unfreeze, close, rule, version. Flags: docs/pipelines/payments_admin.md.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from payments.administration import Written, account_lines, rule_lines, version_lines
from payments.admission import MAX_ID_CHARS, is_account_id
from payments.currencies import EXPONENTS
from payments.live_stages import KINDS
from payments.topics import INCOMING, SETTINGS
from pipelines.administration import MOST_NUMBER, AdminOptions, Command, administer, identity_of
from pipelines.common import UsageError, check_range, main
from pipelines.registry import REGISTRY
from schemas.payments import AccountClosed, AccountFrozen, AccountLimited, AccountOpened

_MOST = (1 << 62) - 1
_LIMITS = ("interval_ms", "max_count", "max_minor")

VERSIONED = tuple(kind for kind in KINDS if kind.topic is not INCOMING)
"""Stages whose topics no client writes: those that take a Version."""


class _AccountOptions(AdminOptions):
    @classmethod
    def add_account(cls, parser: argparse.ArgumentParser, expected: bool = True) -> None:
        cls.add_common(parser)
        parser.add_argument("--account", required=True, help="account id")
        if expected:
            parser.add_argument(
                "--expected", type=int, required=True, help="version of the account's settings that you saw"
            )


class OpenOptions(_AccountOptions):
    """Opens an account."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_account(parser, expected=False)
        parser.add_argument("--currency", required=True, help="ISO 4217 code")
        _add_limits(parser)
        parser.add_argument("--one_in_flight", action="store_true", help="one debit at a time is in flight")


class LimitOptions(_AccountOptions):
    """Sets both limits of an account."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_account(parser)
        _add_limits(parser)


class AccountOptions(_AccountOptions):
    """Freezes, unfreezes or closes an account."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_account(parser)


class RuleOptions(AdminOptions):
    """Puts a velocity rule in force, or takes it out."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_common(parser)
        parser.add_argument("--name", default="", help="tells it from other velocity rules")
        parser.add_argument("--number", type=int, required=True, help="version of the rule; only a higher one counts")
        parser.add_argument("--interval_ms", type=int, default=-1, help="length of the interval on the clock, ms")
        parser.add_argument(
            "--max_count", type=int, default=-1, help="most debits and holds of a debtor in an interval"
        )
        parser.add_argument(
            "--max_minor", type=int, default=-1, help="most money of a debtor in an interval, minor units"
        )
        parser.add_argument("--off", action="store_true", help="take the rule out of force")


class VersionOptions(AdminOptions):
    """Pins the version of a stage's rules."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_version(parser, "payments.accounts")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overdraft", type=int, default=0, help="how far below zero, minor units")
    parser.add_argument(
        "--daily", type=int, default=-1, help="most that leaves in a UTC day, minor units; -1: no limit"
    )


ACTIONS: dict[str, type[AdminOptions]] = {
    "open": OpenOptions,
    "limit": LimitOptions,
    "freeze": AccountOptions,
    "unfreeze": AccountOptions,
    "close": AccountOptions,
    "rule": RuleOptions,
    "version": VersionOptions,
}


def command_of(action: str, options: Any, now_ms: int) -> Command:
    """What an action writes; UsageError for a value that no stage would take."""
    admin_id, at = identity_of(action, options, now_ms)
    if action == "rule":
        return Command(admin_id, at, _rule(admin_id, options))
    if action == "version":
        check_range(options, number=(1, MOST_NUMBER))
        try:
            lines = version_lines(admin_id, VERSIONED, options.stage, options.number, REGISTRY.encode)
        except ValueError as error:
            raise UsageError(str(error), "--stage") from error
        return Command(admin_id, at, lines)
    if not is_account_id(options.account):
        raise UsageError(f"1 to {MAX_ID_CHARS} characters, and not ~ first", "--account")
    return Command(admin_id, at, account_lines(_account_event(action, options, admin_id, at), REGISTRY.encode))


def _account_event(action: str, options: Any, admin_id: str, at: int) -> Any:
    account = options.account
    if action in ("open", "limit"):
        check_range(options, overdraft=(0, _MOST), daily=(-1, _MOST))
        daily = None if options.daily < 0 else options.daily
        if action == "open":
            if options.currency not in EXPONENTS:
                raise UsageError("no currency that is known here", f"--currency={options.currency}")
            gate = options.one_in_flight
            return AccountOpened(admin_id, account, 0, options.currency, options.overdraft, daily, gate, at)
    check_range(options, expected=1)
    if action == "limit":
        return AccountLimited(admin_id, account, options.expected, options.overdraft, daily, at)
    if action == "close":
        return AccountClosed(admin_id, account, options.expected, at)
    return AccountFrozen(admin_id, account, options.expected, action == "freeze", at)


def _rule(admin_id: str, options: Any) -> list[Written]:
    check_range(options, number=(1, MOST_NUMBER), **dict.fromkeys(_LIMITS, (-1, _MOST)))
    given = {name: getattr(options, name) for name in _LIMITS}
    parameters = {name: value for name, value in given.items() if value >= 0}
    if not options.off:
        if options.interval_ms < 1:
            raise UsageError("a rule in force needs an interval", "--interval_ms")
        if len(parameters) < 2:
            raise UsageError("a rule in force needs a limit", "--max_count or --max_minor")
    return rule_lines(admin_id, options.name, options.number, not options.off, parameters, REGISTRY.encode)


def run(argv: Sequence[str]) -> int:
    return administer(argv, ACTIONS, command_of, SETTINGS)


if __name__ == "__main__":
    main(run)
