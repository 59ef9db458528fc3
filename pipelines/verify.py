"""Verify: `payments_verify` by its short name; `./run_local.sh verify --from-topics` checks the topics of a broker."""

from pipelines.common import main
from pipelines.payments_verify import run as verify


def run(argv: list[str]) -> int:
    return verify(argv)


if __name__ == "__main__":
    main(run)
