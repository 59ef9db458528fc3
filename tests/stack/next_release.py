"""A release that knows new rules of the accounts beside the old ones: from version 2 on no account opens with an overdraft above 1,000."""

import sys
from functools import partial
from typing import Any

from payments import topics
from payments.account import Account
from payments.accounts import AccountProcessor
from pipelines.engine import run_job
from pipelines.live_options import broker_settings, knobs_of, parse_live
from pipelines.live_stages import ReportTurns, fold_stages, with_id
from pipelines.payments_live import PaymentsLiveOptions
from pipelines.registry import REGISTRY
from schemas.payments import AccountOpened
from transforms.errors import BadRecord
from transforms.fold import Context
from transforms.fold_bounded import Engine
from transforms.fold_log import FoldLog
from transforms.loop import Stage
from transforms.snapshots import SnapshotStore

MOST_OVERDRAFT = 1_000


class NextAccounts(AccountProcessor):
    versions = (1, 2)

    def on_event(self, key: str, entity: Account | None, event: Any, context: Context) -> Account | None:
        if context.version >= 2 and isinstance(event, AccountOpened) and event.overdraft_limit > MOST_OVERDRAFT:
            raise BadRecord("OVERDRAFT_TOO_HIGH")
        return super().on_event(key, entity, event, context)


def engine(reversal_ms: int, topic_id: str = "") -> Engine:
    return Engine(Stage(NextAccounts(reversal_ms), with_id(topics.INFLIGHT, topic_id)), REGISTRY)


def run(argv: list[str]) -> None:
    options, _ = parse_live(argv, PaymentsLiveOptions)
    settings = broker_settings(options)

    def build(p: Any) -> None:
        fold_stages(p, options, settings, ("Admission", "Watchdog"))
        store, knobs = SnapshotStore(options.snapshots), knobs_of(options, topics.PATIENT)
        accounts = p | "Accounts" >> FoldLog(partial(engine, options.reversal_ms), settings, store, options.lanes, knobs, 1)
        _ = accounts | "ReportAccounts" >> ReportTurns(settings)

    run_job(options, build)


if __name__ == "__main__":
    run(sys.argv[1:])
