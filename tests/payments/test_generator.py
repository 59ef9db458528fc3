"""The generator: equal settings give equal bytes, and what it plants is what the payment system finds."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from payments import topics
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.generator import MIN_ACCOUNTS, START_MS, Generation, Settings
from payments.intake import ACCOUNT_EVENTS
from payments.planted import PREFIX, recipes
from payments.truth import differences, outcomes
from schemas.payments import AccountFrozen, AccountLimited, AccountOpened, PaymentInitiated
from schemas.rails import Record, Rule
from transforms.chunks import encode_record, unpack_chunk
from transforms.fold import DEAD_LETTERS
from transforms.in_memory import log_order
from transforms.loop import Loop, Stage
from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments")
ACCOUNT_FRAMES = {REGISTRY.frame(kind) for kind in ACCOUNT_EVENTS}
SMALL = Settings(payments=4_500, accounts=120, bad=0.1, duplicates=0.02)


def entry(record: Record) -> list[tuple[str, int]]:
    """As the pipeline `payments` lets records in."""
    frame = (record.value or b"")[:5]
    if frame == REGISTRY.frame(Rule):
        return [(topics.INFLIGHT.name, number) for number in range(topics.INFLIGHT.partitions)]
    topic = topics.INFLIGHT if frame in ACCOUNT_FRAMES else topics.INCOMING
    return [(topic.name, topic.partition_of(record.key))]


class Outcome(NamedTuple):
    statuses: Counter[tuple[str, str, str]]  # (reference, status, reason)
    dead_letters: Counter[str]
    duplicates: int

    def differences(self, truth: dict[str, Any]) -> list[str]:
        return differences(truth, *self)


def run(records: list[Record]) -> Outcome:
    """The records through admission and accounts."""
    stages = [Stage(Admission(), topics.INCOMING), Stage(AccountProcessor(), topics.INFLIGHT)]
    seen = (topics.STATUS.name, DEAD_LETTERS.name)
    chunks = [
        chunk for chunk in Loop(stages, REGISTRY, entry).run(sorted(records, key=log_order)) if chunk.topic in seen
    ]
    return Outcome(*outcomes(REGISTRY.decode(r.value or b"") for chunk in chunks for r in unpack_chunk(chunk)))


@pytest.fixture(scope="module")
def small() -> tuple[list[Record], dict[str, Any], Outcome]:
    generation = Generation(SMALL)
    records = list(generation)
    return records, generation.truth(), run(records)


def test_what_is_planted_is_what_comes_out(small: tuple[list[Record], dict[str, Any], Outcome]) -> None:
    _, truth, outcome = small
    assert set(truth["planted"]) == set(recipes(16)), "a fault is never planted"
    assert all(fault["count"] >= 3 for fault in truth["planted"].values())
    assert outcome.differences(truth) == []


def test_nothing_else_goes_wrong(small: tuple[list[Record], dict[str, Any], Outcome]) -> None:
    """Ordinary traffic is never refused, so a refusal of it in a run is a finding."""
    _, _, outcome = small
    refused = {key: n for key, n in outcome.statuses.items() if key[1] == "RJCT" and not key[0].startswith(PREFIX)}
    assert refused == {}
    planted = {key: n for key, n in outcome.statuses.items() if key[0].startswith(PREFIX) and key[1] == "ACCC"}
    assert planted == {}
    ends: Counter[str] = Counter()
    for (_, status, _), count in outcome.statuses.items():
        ends[status] += count
    assert min(ends[status] for status in ("ACCC", "ACSP", "PDNG", "CANC", "DUPL")) > 50, (
        "all ways of a payment are walked"
    )


def test_a_wrong_outcome_is_seen(small: tuple[list[Record], dict[str, Any], Outcome]) -> None:
    _, truth, outcome = small
    for key in ((PREFIX + "zero_amount", "RJCT", "AM01"), (PREFIX + "captured_twice", "RJCT", "NARR")):
        statuses = Counter(outcome.statuses)
        statuses[key] -= 1
        (line,) = outcome._replace(statuses=statuses).differences(truth)
        count = truth["planted"][key[0].removeprefix(PREFIX)]["count"]
        assert line == f"{key[0].removeprefix(PREFIX)}: {count} planted, {count - 1} are RJCT {key[2]}"
    letters = Counter(outcome.dead_letters)
    letters["BAD_MAGIC"] += 1
    letters["NEW"] = 1
    magic = truth["dead_letters"]["BAD_MAGIC"]
    assert outcome._replace(dead_letters=letters).differences(truth) == [
        f"dead letters BAD_MAGIC: {magic} planted, {magic + 1} found",
        "dead letters NEW: 0 planted, 1 found",
    ]
    assert differences({**truth, "planted": {}}, {}, outcome.dead_letters, truth["duplicates"] + 2) == [
        f"duplicates: {truth['duplicates']} planted, {truth['duplicates'] + 2} are DUPL"
    ]


def test_counts_and_shares(small: tuple[list[Record], dict[str, Any], Outcome]) -> None:
    records, truth, _ = small
    assert (
        truth["records"] == len(records) and truth["payments"] == SMALL.payments and truth["accounts"] == SMALL.accounts
    )
    opened = [record for record in records if (record.value or b"").startswith(REGISTRY.frame(AccountOpened))]
    assert len({record.key for record in opened[: SMALL.accounts]}) == SMALL.accounts
    assert records[: SMALL.accounts] == opened[: SMALL.accounts], "the accounts open first"
    faults = sum(fault["count"] for fault in truth["planted"].values())
    assert SMALL.bad * SMALL.payments * 0.95 < faults <= SMALL.bad * SMALL.payments + 1
    assert abs(truth["duplicates"] - SMALL.duplicates * SMALL.payments) < 3
    assert truth["duplicates"] > truth["planted"]["failed_id_again"]["count"], "others than failed ids are repeated"
    kinds = Counter(type(event) for event in map(decode, records))
    assert min(kinds[kind] for kind in (AccountFrozen, AccountLimited, Rule)) > 3, "settings change in the stream"
    json.dumps(truth)


def decode(record: Record) -> Any:
    try:
        return REGISTRY.decode(record.value or b"")
    except Exception:
        return None


def test_times_and_numbers(small: tuple[list[Record], dict[str, Any], Outcome]) -> None:
    records, _, _ = small
    assert [record.offset for record in records] == list(range(len(records)))
    assert records[0].at == START_MS and all(a.at <= b.at for a, b in pairwise(records))
    lasts = (records[-1].at - START_MS) / 1000
    assert abs(lasts - (2 + SMALL.payments / SMALL.rate)) < 1
    seen: set[str] = set()
    lags = []
    for record, event in ((record, decode(record)) for record in records):
        if isinstance(event, PaymentInitiated) and event.payment_id not in seen:
            seen.add(event.payment_id)
            if not (event.reference or "").startswith(PREFIX):
                lags.append(record.at - event.requested_at)
    assert min(lags) >= 0 and max(lags) < SMALL.disorder_ms and max(lags) > SMALL.disorder_ms * 0.9


def test_equal_settings_give_equal_bytes_in_any_process(root: Path) -> None:
    code = (
        "import hashlib\nfrom payments.generator import *\n"
        "print(hashlib.sha256(repr(list(Generation(Settings(payments=900, accounts=60)))).encode()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(root)},
        capture_output=True,
        check=True,
        text=True,
    )
    here = repr(list(Generation(Settings(payments=900, accounts=60))))
    assert other.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()


def stream(**settings: Any) -> list[Record]:
    return list(Generation(Settings(**{"payments": 600, "accounts": 60, **settings})))


@pytest.mark.parametrize(
    "other",
    [{"seed": 2}, {"rate": 50}, {"skew": 1.0}, {"bad": 0}, {"duplicates": 0}, {"disorder_ms": 0}, {"start_ms": 10**12}],
)
def test_every_setting_matters(other: dict[str, Any]) -> None:
    assert list(map(encode_record, stream(**other))) != list(map(encode_record, stream()))


def test_no_faults_when_none_are_asked_for() -> None:
    generation = Generation(Settings(payments=2_000, accounts=60, bad=0, duplicates=0, disorder_ms=0))
    records = list(generation)
    truth = generation.truth()
    assert truth["planted"] == {} and truth["dead_letters"] == {} and truth["duplicates"] == 0
    for record in records:
        event = REGISTRY.decode(record.value or b"")
        assert not isinstance(event, PaymentInitiated) or event.requested_at == record.at


def test_skew_makes_accounts_hot() -> None:
    def hottest(skew: float) -> float:
        payments = [e for e in map(decode, stream(payments=3_000, skew=skew, bad=0)) if isinstance(e, PaymentInitiated)]
        counts = Counter(payment.debtor_account for payment in payments if payment.debtor_account)
        return counts.most_common(1)[0][1] / counts.total()

    assert hottest(0) < 0.08 < hottest(1) < 0.2 < hottest(3)


def test_many_accounts_and_few_payments() -> None:
    generation = Generation(Settings(payments=100, accounts=500, rate=1_000_000))
    records = list(generation)
    assert generation.truth()["payments"] == 100 and len(records) >= 600
    assert run(records).differences(generation.truth()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"payments": 99}, "payments must be from 100 to 1,000,000,000, got 99"),
        ({"accounts": MIN_ACCOUNTS - 1}, "accounts must be from"),
        ({"seed": -1}, "seed must be from 0"),
        ({"rate": 0}, "rate must be from 1 to 1,000,000, got 0"),
        ({"skew": 3.5}, "skew must be from 0 to 3, got 3.5"),
        ({"bad": float("nan")}, "bad must be from 0 to 0.3, got nan"),
        ({"duplicates": -0.1}, "duplicates must be from"),
        ({"disorder_ms": 50_000_000}, "disorder_ms must be from"),
        ({"start_ms": 0}, "start_ms must be from"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**settings)
