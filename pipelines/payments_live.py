"""Payments live: admission, account processor and watchdog as one endless job between topics of Kafka.

payments.incoming → admission → payments.inflight → accounts → payments.inflight ..., journal, status, confirmed, balances; status →
watchdog. Each stage is a root of its own: what joins them are the topics. Flags, operation and failures: docs/pipelines/payments_live.md.
"""

import argparse
from collections.abc import Sequence

import apache_beam as beam

from payments.topics import SETTINGS
from pipelines.common import main
from pipelines.engine import run_job
from pipelines.live_options import LiveOptions, broker_settings, chosen, parse_live
from pipelines.live_stages import NAMES, fold_stages
from pipelines.payment_rules import add_rules, check_rules
from pipelines.preflight import is_safe
from transforms.kafka_settings import KafkaSettings


class PaymentsLiveOptions(LiveOptions):
    """The payment stages, live."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_live(parser)
        add_rules(parser)
        parser.add_argument("--only", default="", help=f"the stages to launch, by commas, of {', '.join(NAMES)}")


def build_pipeline(
    p: beam.Pipeline, options: PaymentsLiveOptions, settings: KafkaSettings, names: Sequence[str] = NAMES
) -> None:
    """The stages of these names."""
    fold_stages(p, options, settings, names)


def run_stages(argv: Sequence[str], names: Sequence[str]) -> int:
    """Checks, then runs these stages, or those of them that `--only` names, until the job is cancelled; 2 when something is unsafe."""
    options, flags = parse_live(argv, PaymentsLiveOptions)
    names = chosen(options.only, names)
    check_rules(options)
    settings = broker_settings(options)
    if not is_safe(options, flags, settings, SETTINGS):
        return 2
    run_job(options, lambda p: build_pipeline(p, options, settings, names))
    return 0


def run(argv: list[str]) -> int:
    return run_stages(argv, NAMES)


if __name__ == "__main__":
    main(run)
