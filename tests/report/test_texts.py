"""Values as a reader sees them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.currencies import EXPONENTS
from report import texts


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (0, "EUR", "0.00"),
        (5, "EUR", "0.05"),
        (-5, "EUR", "−0.05"),
        (123_456_789, "EUR", "1,234,567.89"),
        (1_234, "JPY", "1,234"),
        (1_234_567, "KWD", "1,234.567"),
        (10_000, "CLF", "1.0000"),
        (1_500, "???", "1,500"),
        (9_007_199_254_740_993, "EUR", "90,071,992,547,409.93"),  # beyond what a float can say
    ],
)
def test_money_is_exact_in_the_decimals_of_its_currency(minor: int, currency: str, shown: str) -> None:
    assert texts.money(minor, currency) == shown
    assert texts.amount(minor, currency) == f"{currency}\u00a0{shown}"


@given(st.integers(-(2**70), 2**70), st.sampled_from(sorted(EXPONENTS)))
def test_money_can_be_read_back(minor: int, currency: str) -> None:
    digits = texts.money(minor, currency).replace(",", "").replace("−", "-").replace(".", "")
    assert int(digits) == minor


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (46_012.34, "46,012"),
        (1e9, "1,000,000,000"),
        (99.999, "100"),
        (100.6, "101"),
        (7.934, "7.93"),
        (0.7, "0.7"),
        (5.0, "5"),
        (0.0, "0"),
        (0.004, "< 0.01"),
        (-0.004, "> −0.01"),
        (-3.5, "−3.5"),
    ],
)
def test_figures_have_no_exponent(value: float, shown: str) -> None:
    assert texts.number(value) == shown


def test_counts_and_shares() -> None:
    assert texts.count(-1_234_567) == "−1,234,567"
    assert texts.share(0, 10) == "0.0\u00a0%"
    assert texts.share(1, 3) == "33.3\u00a0%"
    assert texts.share(1, 100_000) == "< 0.1\u00a0%"
    assert texts.share(99_999, 100_000) == "> 99.9\u00a0%"
    assert texts.share(10, 10) == "100.0\u00a0%"
    assert texts.share(0, 0) == "–"


def test_moments_are_utc_and_survive_any_number() -> None:
    assert texts.moment(1_767_225_600_000) == "2026-01-01 00:00:00"
    assert texts.moment(1_767_225_600_007) == "2026-01-01 00:00:00.007"
    assert texts.moment(-1) == "1969-12-31 23:59:59.999"
    assert texts.moment(-62_135_596_800_000) == "0001-01-01 00:00:00"
    assert texts.moment(-62_135_596_800_001) == "-62135596800001 ms"
    assert texts.moment(253_402_300_799_999) == "9999-12-31 23:59:59.999"
    assert texts.moment(253_402_300_800_000) == "253402300800000 ms"
    assert texts.moment(2**63 - 1) == f"{2**63 - 1} ms"


def test_an_interval_says_as_much_as_its_width_needs() -> None:
    at = 1_767_225_605_000
    assert texts.interval(at, 1_000) == "2026-01-01 00:00:05"
    assert texts.interval(at, 60_000) == "2026-01-01 00:00"
    assert texts.interval(at, 86_400_000) == "2026-01-01"
    assert texts.interval(1 << 62, 86_400_000) == "4611686018427387904 ms"


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (1_250, "1.25 s"),
        (59_999, "59.999 s"),
        (60_000, "1 min"),
        (200_000, "3 min 20 s"),
        (3_600_000, "1 h"),
        (18_180_000, "5 h 3 min"),
        (86_400_000, "1 d"),
        (12 * 86_400_000 + 4 * 3_600_000 + 5, "12 d 4 h"),
    ],
)
def test_durations(ms: int, shown: str) -> None:
    assert texts.duration(ms).replace("\u00a0", " ") == shown


CARD = "4111111111111111"  # a well-known test number; it passes the Luhn check


def test_ids_keep_their_digits_unless_they_may_be_a_card() -> None:
    assert texts.named(f"card {CARD}!") == "card ************1111!"
    assert texts.named("4111 1111-1111 1111") == "************1111"
    assert texts.named("4111111111111112") == "4111111111111112"  # fails the check
    assert texts.named("409000611074") == "409000611074"  # an account of the bank data, 12 digits
    assert texts.named("pay-00000001") == "pay-00000001"


@pytest.mark.parametrize(
    "data",
    [
        CARD.encode(),
        b"\x02" + CARD.encode() + b"\xff",
        b"4111 1111 1111 1111",
        b"4111-1111-1111-1111",
        CARD.encode("utf-16-le"),
        CARD.encode("utf-16-be"),
        b"99999" + CARD.encode() + b"99999",  # inside a longer run
    ],
)
def test_no_run_of_digits_leaves_the_bytes(data: bytes) -> None:
    shown = texts.printable(data) + texts.hexdump(data)
    assert CARD[:12] not in shown.replace(" ", "").replace("-", "").replace("\\x00", "")
    assert CARD[:12].encode().hex(" ") not in shown
    assert len(texts.masked(data)) == len(data)
    assert b"*" in texts.masked(data)


def test_four_digits_are_left() -> None:
    assert texts.masked(b"no 4000056655665556.") == b"no ************5556."
    assert texts.masked(b"no 4000-0566-5566-5556.") == b"no ****-****-****-5556."


def test_short_runs_of_digits_stay() -> None:
    assert texts.masked(b"account 409000611074, at 2026-01-01") == b"account 409000611074, at 2026-01-01"


def test_bytes_are_ascii_and_cut() -> None:
    assert texts.printable(b"a\\b\x00\xff<") == "a\\x5cb\\x00\\xff<"
    assert texts.printable(b"x" * texts.SHOWN_BYTES) == "x" * texts.SHOWN_BYTES
    assert texts.printable(b"x" * (texts.SHOWN_BYTES + 1)) == "x" * texts.SHOWN_BYTES + "…"


def test_a_hexdump_has_offset_hex_and_ascii() -> None:
    assert texts.hexdump(b"abcdefgh\x00\x01") == (
        "0000  61 62 63 64 65 66 67 68  abcdefgh\n0008  00 01                    ··"
    )
    assert texts.hexdump(bytes(1_200)).endswith(f"\n… {texts.count(1_200 - texts.SHOWN_BYTES)} more")
    assert texts.hexdump(b"") == ""
