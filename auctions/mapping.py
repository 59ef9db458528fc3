"""The mapping of an import of bids: which columns of a CSV become which fields of items and bids; read from a mapping file and checked.

One row is one bid and names its auction, whose item is made of the same row; that of its earliest bid counts. Texts are
templates, as in `payments.mapping`. Times are absolute (a format of strptime, epoch_ms or epoch_s), or `days`, `hours`, `seconds` since
`start`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auctions.increments import table_error
from payments.currencies import EXPONENTS
from payments.imports import minor_units
from payments.mapping import BadMapping, Template, parse_template, read_json, read_object, read_template
from schemas.auctions import Increment
from transforms.errors import BadRecord

SHIPPED = Path(__file__).parent / "mappings"
SINCE_START = {"days": 86_400_000, "hours": 3_600_000, "seconds": 1_000}

_REQUIRED = ("auction_id", "bidder_id", "maximum", "currency", "time", "start_price", "duration_days")
_TEXTS = ("auction_id", "bidder_id", "maximum", "seller_id", "title", "category", "start_price", "bid_id")
_KNOWN = frozenset({*_REQUIRED, *_TEXTS, "doc", "csv", "start", "increments", "decimal", "group"})
_DEFAULTS = {"seller_id": "seller-of-{}", "title": "{}", "category": "imported"}


@dataclass(frozen=True)
class BidMapping:
    """How a row becomes a bid and its item. `start_ms`: where each auction starts, and what times count from if they are no dates."""

    auction_id: Template
    bidder_id: Template
    maximum: Template
    currency: str
    time: Template
    time_format: str
    start_ms: int
    start_price: Template
    duration_days: Template
    durations: Mapping[str, str] | None  # by the text of `duration_days`; None: the text is the number
    seller_id: Template
    title: Template
    category: Template
    bid_id: Template | None = None  # None: the number of the line
    increments: tuple[Increment, ...] | None = None
    decimal_mark: str = "."
    group_mark: str = ""
    csv: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a file must have, in order of their names."""
        held = [getattr(self, name) for name in self.__dataclass_fields__]
        return tuple(sorted({column for item in held if isinstance(item, Template) for column in item.columns}))


def load_mapping(name: str) -> BidMapping:
    """The mapping of a file, or the shipped one of that name; BadMapping says what is wrong with it."""
    path = Path(name)
    if not path.is_file():
        path = SHIPPED / f"{name}.json"
        if Path(name).name != name or not path.is_file():
            raise BadMapping(f"no such mapping file, and none of that name is shipped: {name}")
    return read_mapping(path.read_text(encoding="utf-8"))


def read_mapping(text: str) -> BidMapping:
    """The mapping of a mapping file's text; BadMapping says what is wrong with it, in one line."""
    data = read_object(read_json(text), "the mapping", _KNOWN)
    for name in _REQUIRED:
        if name not in data:
            raise BadMapping(f"{name} is missing")
    currency = data["currency"]
    if currency not in EXPONENTS:
        raise BadMapping(f"currency must be a code of ISO 4217, got {currency!r}")
    found: dict[str, Any] = {name: read_template(data[name], name) for name in _TEXTS if name in data}
    for name, text in _DEFAULTS.items():
        found.setdefault(name, parse_template(text.replace("{}", data["auction_id"])))
    decimal, group = data.get("decimal", "."), data.get("group", "")
    if decimal not in (".", ",") or group not in ("", ".", ",", " ", "'") or decimal == group:
        raise BadMapping(f"decimal is . or , and group another sign, got {decimal!r} and {group!r}")
    if not isinstance(data.get("csv", {}), dict):
        raise BadMapping("csv must be an object")
    return BidMapping(
        **found,
        **_time(data),
        **_duration(data["duration_days"]),
        currency=currency,
        increments=_increments(data.get("increments"), currency),
        decimal_mark=decimal,
        group_mark=group,
        csv=data.get("csv", {}),
    )


def _time(data: dict[str, Any]) -> dict[str, Any]:
    time, start = data["time"], data.get("start", "2000-01-01T00:00:00Z")
    if not isinstance(time, dict) or time.keys() - {"from", "format"}:
        raise BadMapping("time is an object with from and format")
    form = time.get("format")
    if not isinstance(form, str) or ("%" not in form and form not in ("epoch_ms", "epoch_s", *SINCE_START)):
        raise BadMapping(f"time.format is one of strptime, epoch_ms, epoch_s, {', '.join(SINCE_START)}; got {form!r}")
    try:
        moment = datetime.fromisoformat(start)
    except (TypeError, ValueError):
        raise BadMapping(f"start is a date and time such as 2004-01-01T00:00:00Z, got {start!r}") from None
    at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return {
        "time": read_template(time.get("from"), "time.from"),
        "time_format": form,
        "start_ms": int(at.timestamp()) * 1000,
    }


def _duration(data: Any) -> dict[str, Any]:
    values = None
    if isinstance(data, dict):
        values, data = data.get("values"), data.get("from")
        if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
            raise BadMapping("duration_days.values must be an object of texts")
    return {"duration_days": read_template(data, "duration_days"), "durations": values}


def _increments(data: Any, currency: str) -> tuple[Increment, ...] | None:
    if data is None:
        return None
    try:
        rows = tuple(
            Increment(
                minor_units(row["below"], currency) if "below" in row else None, minor_units(row["step"], currency)
            )
            for row in data
        )
    except (TypeError, KeyError, AttributeError, BadRecord):
        raise BadMapping(
            "increments is a list of objects with step and, but for the last, below, as decimals"
        ) from None
    wrong = table_error(rows)
    if wrong:
        raise BadMapping(f"increments: {wrong}")
    return rows
