"""The benchmark of the codecs measures what it says."""

import io
from collections import Counter

import fastavro
import pytest

from bench.codec import KINDS, make_payments, measure
from schemas import load_schema
from transforms.registry import Registry


def test_rows_have_what_the_table_needs() -> None:
    rows = measure(repeats=1, count=50)
    assert rows[0]["name"] == "strict decode of a 13-field payment"
    for row in rows:
        assert set(row) == {"name", "unit", "value", "baseline", "ratio", "floor", "aim", "floor_is"}
        assert row["value"] > 0 and row["baseline"] > 0 and row["floor"] <= row["aim"]


def test_both_sides_decode_the_same_payments() -> None:
    payments = make_payments(300)
    assert payments == make_payments(300)
    assert set(Counter(payment.kind for payment in payments)) == set(KINDS)
    schema = fastavro.parse_schema(load_schema("payments.PaymentInitiated"))
    registry = Registry.of("rails", "payments")
    for payment in payments:
        plain = fastavro.schemaless_reader(io.BytesIO(registry.encode(payment)[5:]), schema, None)
        assert plain["payment_id"] == payment.payment_id
        assert plain["amount"] == payment.amount._asdict()
        assert round(plain["requested_at"].timestamp() * 1000) == payment.requested_at


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0)])
def test_there_is_something_to_measure(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        measure(*arguments)
