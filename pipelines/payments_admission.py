"""Payments live, admission alone: payments.incoming → first legs, statuses, dead letters."""

from pipelines.common import main
from pipelines.payments_live import run_stages


def run(argv: list[str]) -> int:
    return run_stages(argv, ("Admission",))


if __name__ == "__main__":
    main(run)
