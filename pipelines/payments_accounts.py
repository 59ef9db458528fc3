"""Payments live, the accounts alone: payments.inflight → journal, statuses, further legs."""

from pipelines.common import main
from pipelines.payments_live import run_stages


def run(argv: list[str]) -> int:
    return run_stages(argv, ("Accounts",))


if __name__ == "__main__":
    main(run)
