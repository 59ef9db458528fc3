"""Notices as mails: text and HTML, the same bytes each time. Everything that people have typed is escaped, and kept on one line.

A mail's Message-ID is the notice's id, so it is a function of the event and the person. Its Date is the time of the event on the log.
"""

import re
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from string import Template

from payments.currencies import format_minor
from schemas.auctions import Notice, NoticeKind, PriceRange, SimilarityLevel
from transforms.topic_settings import DAY_MS

MAX_TITLE = 120  # characters of a title that a mail repeats

SUBJECTS: dict[NoticeKind, str] = {
    "PURCHASED": "You have bought: $title",
    "OUTBID": "You have been outbid: $title",
    "LOST": "The auction is over: $title",
    "SOLD": "Sold: $title",
    "UNSOLD": "Not sold: $title",
    "ENDING_SOON": "Ending soon: $title",
    "CANCELLED": "Cancelled: $title",
    "PURCHASE_UNPAID": "Not paid: $title",
    "SALE_UNPAID": "Sold, but not paid: $title",
}

SENTENCES: dict[NoticeKind, str] = {
    "PURCHASED": "you have won the auction of “$title”, for $price. The money has been taken from what was held for your bids.",
    "OUTBID": "someone has bid more than you for “$title”. The price is $price now; the auction ends $ends.$usual",
    "LOST": "the auction of “$title” is over, and somebody else was ahead, or it was not sold. Nothing is held for your bids any more.",
    "SOLD": "“$title” is sold, for $price.",
    "UNSOLD": "the auction of “$title” is over, and it was not sold.",
    "ENDING_SOON": "the auction of “$title” ends $ends. The price is $price; $standing.$usual",
    "CANCELLED": "the auction of “$title” was cancelled by its seller. Nothing is held for your bids any more.",
    "PURCHASE_UNPAID": "you have won the auction of “$title”, but the payment of $price was refused, and nothing is held for it any more. "
    "The sale stands: please settle it with the seller.",
    "SALE_UNPAID": "“$title” is sold, but the payment of $price was refused. The sale stands: please settle it with the winner before "
    "you part with it.",
}
"""What is said of each kind, behind the name."""

LIKE: dict[SimilarityLevel, str] = {"TAGS": "Items with the same tags", "CATEGORY": "Items of the same category"}
"""By what a price range is of. That of all items says nothing about one of them, and is not told."""

TEXT = Template("Hello $name,\n\n$sentence\n\n$link\n\nYou are told this because you bid or sell here.\n")

HTML = Template("""\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>$subject</title></head>
<body style="margin:0;padding:24px;font-family:sans-serif;line-height:1.5;color:#1d2733;background:#ffffff">
<p>Hello $name,</p>
<p>$sentence</p>
<p><a href="$link">$link</a></p>
<p style="color:#5b6776;font-size:85%">You are told this because you bid or sell here.</p>
</body>
</html>
""")


class Letterhead:
    """Who the mails are from, and where their links lead."""

    def __init__(self, sender: str = "auctions@example.org", site: str = "https://auctions.example.org/") -> None:
        """`sender` is a mail address, `site` what an auction's id is put behind; it must be of http or https."""
        self.address = parse_address(sender, "Auctions")
        if not re.fullmatch(r"https?://[^\s<>\"']+", site):
            raise ValueError(f"site must be an address of http or https, got {site!r}")
        self.site = site


def parse_address(text: str, name: str = "") -> Address:
    """A mail address; ValueError if it is none. Not to be trusted with a line break, or headers could be put into a mail."""
    if (
        not text.isascii()
        or not text.isprintable()
        or len(text) > 254
        or not re.fullmatch(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+", text)
    ):
        raise ValueError("not a mail address")
    user, _, domain = text.rpartition("@")
    return Address(_line(name, 80), user, domain)


def message_id(notice_id: str, domain: str) -> str:
    return f"<{notice_id}@{domain}>"


def mail_of(notice: Notice, to: Address, letterhead: Letterhead) -> EmailMessage:
    """The mail that tells `notice`. `to` may bear the person's name."""
    price = notice.price
    values = {
        "title": _line(notice.title, MAX_TITLE) or "(no title)",
        "price": "" if price is None else f"{format_minor(price.minor, price.currency)} {price.currency}",
        "ends": "" if notice.ends_at is None else f"{_time(notice.ends_at):%Y-%m-%d at %H:%M UTC}",
        "usual": _usual(notice.range),
        "standing": "you lead" if notice.leads else "you do not lead",
        "name": to.display_name or "there",
        "link": letterhead.site + re.sub(r"[^A-Za-z0-9._~-]", _percent, notice.auction_id),
    }
    values["subject"] = Template(SUBJECTS[notice.kind]).substitute(values)
    sentence = Template(SENTENCES[notice.kind])
    escaped = {name: escape(value) for name, value in values.items()}
    mail = EmailMessage(policy.SMTP)
    mail["From"] = letterhead.address
    mail["To"] = to
    mail["Subject"] = values["subject"]
    mail["Date"] = format_datetime(_time(notice.at))
    mail["Message-ID"] = message_id(notice.notice_id, letterhead.address.domain)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is to be answered to us
    mail.set_content(TEXT.substitute(values, sentence=sentence.substitute(values)))
    mail.add_alternative(HTML.substitute(escaped, sentence=sentence.substitute(escaped)), subtype="html")
    mail.set_boundary("=_" + notice.notice_id)  # else a random one
    return mail


def _usual(found: PriceRange | None) -> str:
    """What similar items were sold for, a sentence behind another one; nothing where that is not known."""
    if found is None or found.level not in LIKE:
        return ""
    low, high = (format_minor(minor, found.currency) for minor in (found.p25, found.p75))
    prices = f"for {low} {found.currency}" if low == high else f"for {low} to {high} {found.currency}"
    return f" {LIKE[found.level]} were usually sold {prices} (the middle half of {found.n} sales in {found.horizon_ms // DAY_MS} days)."


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace"))


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


def _line(text: str, longest: int) -> str:
    """The text on one line, without what is not shown, cut to that many characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
