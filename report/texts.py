"""Values as a reader sees them: counts, money, times, and bytes that anyone may have sent. Nothing here is rounded silently."""

import re
from datetime import UTC, datetime, timedelta

from payments.currencies import format_minor

MINUS = "\u2212"
MASK = "*"
SHOWN_BYTES = 96
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Digits as ASCII or as UTF-16, with what people put between them. ISO/IEC 7812 allows up to 19 digits; shorter than 13 is rare.
_DIGITS = re.compile(rb"[0-9](?:[ \-./_\x00]{0,3}[0-9]){12,}")
_NUMBER = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])")


def count(n: int) -> str:
    """`20,000`."""
    return f"{n:,}".replace("-", MINUS)


def money(minor: int, currency: str) -> str:
    """`1,234.56`: minor units with the decimals of the currency, exact. The currency stands elsewhere."""
    whole, dot, rest = format_minor(abs(minor), currency).partition(".")
    return (MINUS if minor < 0 else "") + f"{int(whole):,}{dot}{rest}"


def amount(minor: int, currency: str) -> str:
    """`EUR 1,234.56`, on one line."""
    return f"{currency}\u00a0{money(minor, currency)}"


def number(value: float) -> str:
    """`46,012`, `7.93`, `0.75`: neither a count nor money; whole from 100 on, below with two decimals, never with an exponent."""
    size = abs(value)
    if 0 < size < 0.005:
        return "< 0.01" if value > 0 else f"> {MINUS}0.01"
    text = f"{size:,.0f}" if size >= 100 else f"{size:.2f}".rstrip("0").rstrip(".")
    return (MINUS if value < 0 else "") + text


def share(part: int, whole: int) -> str:
    """`12.3 %`; what is there is never said to be 0.0 %, and what is missing never 100.0 %."""
    if whole == 0:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "< 0.1\u00a0%"
    if 99.95 <= percent < 100:
        return "> 99.9\u00a0%"
    return f"{percent:.1f}\u00a0%"


def moment(ms: int) -> str:
    """`2026-11-24 18:03:21.007`, UTC; a time that no calendar has stays a number."""
    if not on_calendar(ms):
        return f"{ms} ms"
    at = _EPOCH + timedelta(milliseconds=ms)
    return at.replace(tzinfo=None).isoformat(" ", "seconds") + (f".{ms % 1000:03d}" if ms % 1000 else "")


def on_calendar(ms: int) -> bool:
    """Whether `moment` gives a date: the years 1 to 9999."""
    return -62_135_596_800_000 <= ms < 253_402_300_800_000


def interval(start: int, width: int) -> str:
    """The bucket that begins at `start`: as much of its time as its width needs."""
    text = moment(start)
    if not on_calendar(start):
        return text
    if width >= 86_400_000:
        return text[:10]
    return text[:16] if width >= 60_000 else text


def duration(ms: int) -> str:
    """`5 ms`, `1.25 s`, `3 min 20 s`, `5 h 3 min`, `12 d 4 h`: exact below a minute, then to the second, minute and hour."""
    if ms < 1000:
        return f"{ms}\u00a0ms"
    if ms < 60_000:
        return f"{ms // 1000}{f'.{ms % 1000:03d}'.rstrip('0') if ms % 1000 else ''}\u00a0s"
    for size, unit, small, smaller in ((60_000, "min", 1000, "s"), (3_600_000, "h", 60_000, "min")):
        if ms < size * (60 if unit == "min" else 24):
            return _two(ms, size, unit, small, smaller)
    return _two(ms, 86_400_000, "d", 3_600_000, "h")


def _two(ms: int, size: int, unit: str, small: int, smaller: str) -> str:
    whole, rest = divmod(ms, size)
    return f"{whole}\u00a0{unit}" + (f" {rest // small}\u00a0{smaller}" if rest // small else "")


def visible(text: str) -> str:
    """Characters that are not seen or turn the direction of writing as U+FFFD: they could forge what is read (CVE-2021-42574)."""
    return text.translate(_HIDDEN)


_HIDDEN = {
    code: "\ufffd"
    for span in ((0, 9), (11, 32), (127, 160), (0x200B, 0x2010), (0x202A, 0x202F), (0x2066, 0x206A), (0xD800, 0xE000))
    for code in range(*span)
}


def named(text: str) -> str:
    """An id as the page shows it: what may be a card number (13 to 19 digits that pass the Luhn check) keeps its last four digits."""

    def mask(found: re.Match[str]) -> str:
        digits = [c for c in found.group() if c.isdigit()]
        return MASK * (len(digits) - 4) + "".join(digits[-4:]) if _luhn(digits) else found.group()

    return _NUMBER.sub(mask, visible(text))


def _luhn(digits: list[str]) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def masked(data: bytes) -> bytes:
    """The bytes with every run of 13 or more digits starred out but for its last four: whatever it was, no card number is left."""

    def mask(found: re.Match[bytes]) -> bytes:
        run = bytearray(found.group())
        places = [i for i, byte in enumerate(run) if 48 <= byte <= 57]
        for place in places[:-4]:
            run[place] = ord(MASK)
        return bytes(run)

    return _DIGITS.sub(mask, data)


def printable(data: bytes) -> str:
    r"""ASCII with everything else as `\x00`; masked, cut at SHOWN_BYTES."""
    text = "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02x}" for b in masked(data)[:SHOWN_BYTES])
    return text + ("…" if len(data) > SHOWN_BYTES else "")


def hexdump(data: bytes, width: int = 8) -> str:
    """Offset, hex and ASCII, `width` bytes a line; masked, cut at SHOWN_BYTES."""
    lines = []
    shown = masked(data)[:SHOWN_BYTES]
    for offset in range(0, len(shown), width):
        row = shown[offset : offset + width]
        text = "".join(chr(b) if 32 <= b < 127 else "·" for b in row)
        lines.append(f"{offset:04x}  {row.hex(' '):<{3 * width - 1}}  {text}")
    if len(data) > SHOWN_BYTES:
        lines.append(f"… {count(len(data) - SHOWN_BYTES)} more")
    return "\n".join(lines)
