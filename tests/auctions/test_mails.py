"""What a mail says, and that nobody can write into it."""

from email import message_from_bytes, policy
from typing import get_args

import pytest

from auctions.mails import SENTENCES, SUBJECTS, Letterhead, mail_of, message_id, parse_address
from auctions.notices import notice_id
from schemas.auctions import Notice, NoticeKind, PriceRange
from schemas.payments import Money
from tests.auctions.analysis import HOUR, START

LETTERHEAD = Letterhead("auctions@shop.example", "https://shop.example/a/")
ANN = parse_address("ann@example.net", "Ann")


def notice(kind="OUTBID", **fields):
    cause = "auction.bids.history/3/17"
    values = {
        "title": "A gold watch",
        "price": Money(123456, "EUR"),
        "leads": False,
        "ends_at": START + HOUR,
        "cause": cause,
        "at": START,
        **fields,
    }
    return Notice(notice_id(cause, kind, "ann"), "ann", kind, "x-1", **values)


def read(mail):
    """As whoever gets it reads it: the headers, the text, the page."""
    got = message_from_bytes(bytes(mail), policy=policy.default)
    return got, got.get_body(("plain",)).get_content(), got.get_body(("html",)).get_content()


def test_a_mail():
    got, text, page = read(mail_of(notice(), ANN, LETTERHEAD))
    assert got["Subject"] == "You have been outbid: A gold watch"
    assert (got["From"], got["To"]) == ("Auctions <auctions@shop.example>", "Ann <ann@example.net>")
    assert got["Message-ID"] == message_id(notice().notice_id, "shop.example")
    assert got["Date"].datetime.timestamp() * 1000 == START
    assert got["Auto-Submitted"] == "auto-generated"
    assert got.get_content_type() == "multipart/alternative"
    assert text.replace("\r\n", "\n") == (
        "Hello Ann,\n\nsomeone has bid more than you for “A gold watch”. The price is 1234.56 EUR now; the auction ends "
        "2023-11-14 at 01:00 UTC.\n\nhttps://shop.example/a/x-1\n\nYou are told this because you bid or sell here.\n"
    )
    assert "1234.56 EUR" in page and 'href="https://shop.example/a/x-1"' in page


@pytest.mark.parametrize("kind", get_args(NoticeKind))
def test_each_kind_has_its_words(kind):
    assert kind in SUBJECTS and kind in SENTENCES
    got, text, page = read(mail_of(notice(kind), ANN, LETTERHEAD))
    assert "A gold watch" in got["Subject"] and "A gold watch" in text and "A gold watch" in page
    assert "$" not in text + page + got["Subject"]


def test_standing_is_told():
    assert "you lead." in read(mail_of(notice("ENDING_SOON", leads=True), ANN, LETTERHEAD))[1]
    assert "you do not lead." in read(mail_of(notice("ENDING_SOON"), ANN, LETTERHEAD))[1]


def priced(level="TAGS", p25=1200, p75=4800, currency="EUR"):
    return PriceRange("key", level, currency, 41, 1, p25, 2000, p75, 9999, 0.01, 90 * 24 * HOUR, 41, START)


@pytest.mark.parametrize("kind", ["OUTBID", "ENDING_SOON"])
@pytest.mark.parametrize(
    ("found", "words"),
    [
        (priced(), "Items with the same tags were usually sold for 12.00 to 48.00 EUR (the middle half of 41 sales in 90 days)."),
        (priced("CATEGORY", 5000, 5000, "JPY"), "Items of the same category were usually sold for 5000 JPY (the middle half of"),
    ],
)
def test_what_similar_items_were_sold_for(kind, found, words):
    _, text, page = read(mail_of(notice(kind, range=found), ANN, LETTERHEAD))
    assert f". {words}" in text and f". {words}" in page


@pytest.mark.parametrize("found", [None, priced("ALL")])
def test_without_similar_items_there_is_no_word_of_prices(found):
    """The range of everything that was sold is none of similar items."""
    for kind in ("OUTBID", "ENDING_SOON"):
        assert bytes(mail_of(notice(kind, range=found), ANN, LETTERHEAD)) == bytes(mail_of(notice(kind), ANN, LETTERHEAD))
    assert "usually" not in read(mail_of(notice("ENDING_SOON"), ANN, LETTERHEAD))[1]


def test_the_same_notice_makes_the_same_bytes():
    assert bytes(mail_of(notice(), ANN, LETTERHEAD)) == bytes(mail_of(notice(), ANN, LETTERHEAD))
    assert bytes(mail_of(notice(), ANN, LETTERHEAD)) != bytes(mail_of(notice("LOST"), ANN, LETTERHEAD))


def test_what_people_have_typed_stays_text():
    """A title with a header, a script, a template's sign and an entity."""
    nasty = "gold\r\nBcc: all@example.net\n\n<script>alert(1)</script> $price & \u2028\x00more"
    got, text, page = read(
        mail_of(notice(title=nasty), parse_address("ann@example.net", "<b>Ann</b>\nCc: x"), LETTERHEAD)
    )
    assert got["Bcc"] is None and got["Cc"] is None
    assert got["Subject"].endswith("gold Bcc: all@example.net <script>alert(1)</script> $price & more")
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;b&gt;Ann" in page
    assert "<script>alert(1)</script> $price & more" in text


def test_an_auctions_id_cannot_leave_the_link():
    page = read(mail_of(notice()._replace(auction_id='../"><x é'), ANN, LETTERHEAD))[2]
    assert 'href="https://shop.example/a/..%2F%22%3E%3Cx%20%C3%A9"' in page


def test_little_is_known():
    got, text, _ = read(mail_of(notice("UNSOLD", title="", price=None, ends_at=None), parse_address("a@b"), LETTERHEAD))
    assert got["To"] == "a@b" and text.startswith("Hello there,") and "(no title)" in text


def test_long_titles_are_cut():
    got, *_ = read(mail_of(notice(title="x" * 5000), ANN, LETTERHEAD))
    assert got["Subject"] == "You have been outbid: " + "x" * 119 + "…"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "ann",
        "ann@",
        "@b",
        "a b@c",
        "a@b@c",
        "a@b\nBcc: c@d",
        "a@b,c@d",
        "<a@b>",
        "a@b;",
        "é@b",
        "a" * 250 + "@bcde",
    ],
)
def test_what_is_no_address(bad):
    with pytest.raises(ValueError, match="not a mail address"):
        parse_address(bad)


@pytest.mark.parametrize("bad", ["", "shop.example", "javascript:alert(1)", "https://a b/", 'https://a"/'])
def test_the_site_is_checked(bad):
    with pytest.raises(ValueError, match="site must be an address of http"):
        Letterhead(site=bad)
