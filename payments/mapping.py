"""The mapping of an import: which columns of a CSV become which fields of a payment; read from a mapping file and checked.

The format is described in docs/pipelines/import_payments.md. Texts are *templates*: `bank-{trans_id}` is a constant and a column.
"""

import json
import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, fields
from datetime import datetime
from string import Formatter
from typing import Any, get_args

from schemas.payments import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)
BY_SIGN = ("positive", "negative")  # fields of kind when the sign of the amount decides
_OF_DAY = re.compile(r"%[HIMSfpcXTR]")  # what a format says about the time of day


class BadMapping(ValueError):
    """The mapping is not one; the message is one line that names the field and the fault."""


@dataclass(frozen=True)
class Template:
    """A constant with columns in it."""

    text: str
    parts: tuple[tuple[str, str | None], ...]  # (constant, the column after it)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for _, column in self.parts if column is not None)

    def fill(self, row: MappingOf[str, str]) -> str:
        return "".join(text + (row[column].strip() if column is not None else "") for text, column in self.parts)


def parse_template(text: str) -> Template:
    """`{{` and `}}` are braces; ValueError for what is no template."""
    parts = []
    for constant, column, spec, conversion in Formatter().parse(text):
        if column == "" or spec or conversion:
            raise ValueError("not a template: columns stand in braces, as in {name}")
        parts.append((constant, column))
    return Template(text, tuple(parts))


@dataclass(frozen=True)
class ImportMapping:
    """How a row becomes a payment. Templates: payment_id … source; `kinds` by the value of `kind`, or by the sign of the amount."""

    payment_id: Template
    kinds: dict[str, Kind]
    amount: Template
    currency: Template
    time: Template
    time_format: str  # of strptime, or epoch_ms, epoch_s
    kind: Template | None = None  # None: kinds are by the sign of the amount
    account: Template | None = None
    debtor_account: Template | None = None
    creditor_account: Template | None = None
    pending_id: Template | None = None
    original_payment_id: Template | None = None
    hold_timeout_ms: Template | None = None
    reference: Template | None = None
    source: Template | None = None
    order_by_line: bool = False  # times are dates: the line number is the millisecond of the day
    decimal_mark: str = "."
    group_mark: str = ""
    open_accounts: bool = True
    overdraft_limit: str = "0"
    daily_limit: str | None = None
    one_in_flight: bool = False
    csv: dict[str, Any] = field(default_factory=dict)  # settings of transforms.csv_files.CsvFormat

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a file must have, in order of their names."""
        templates = [getattr(self, item.name) for item in fields(self)]
        return tuple(sorted({name for item in templates if isinstance(item, Template) for name in item.columns}))


# --- the mapping file ---

_TEMPLATES = frozenset(item.name for item in fields(ImportMapping) if "Template" in str(item.type)) - {"kind"}
_REQUIRED = ("payment_id", "kind", "amount", "currency", "time")
_CSV = frozenset({"delimiter", "quote", "encoding", "columns"})


def read_mapping(text: str) -> ImportMapping:
    """The mapping of a mapping file; BadMapping says what is wrong with it."""
    return parse_mapping(read_json(text))


def read_json(text: str) -> Any:
    """The JSON of a mapping file; BadMapping for what is none, names a field twice, or could not be written again."""
    try:
        data = json.loads(text, object_pairs_hook=_once)
        for part in _texts(data):
            part.encode()
    except UnicodeEncodeError:
        raise BadMapping("a text holds half of a surrogate pair (\\ud800 to \\udfff)") from None
    except RecursionError:
        raise BadMapping("objects or lists are nested too deep") from None
    except BadMapping:
        raise
    except ValueError as error:
        raise BadMapping(f"not JSON: {error}") from None
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise BadMapping(f"{name!r} stands twice in an object")
        found[name] = value
    return found


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for part in data:
            yield from _texts(part)
        if isinstance(data, dict):
            yield from _texts(list(data.values()))


def parse_mapping(data: Any) -> ImportMapping:
    """The mapping of a mapping file's JSON; BadMapping says what is wrong with it."""
    data = read_object(data, "the mapping", {"doc", "csv", "kind", "amount", "time", "accounts"} | _TEMPLATES)
    for name in _REQUIRED:
        if name not in data:
            raise BadMapping(f"{name} is missing")
    found: dict[str, Any] = {
        name: read_template(data[name], name) for name in sorted(_TEMPLATES - {"amount", "time"}) if name in data
    }
    found |= _parse_kind(data["kind"]) | _parse_amount(data["amount"]) | _parse_time(data["time"])
    found |= _parse_accounts(data.get("accounts", {}))
    csv = read_object(data.get("csv", {}), "csv", _CSV)
    for name in _CSV & csv.keys():
        if name == "columns":
            texts = csv[name] if isinstance(csv[name], list) else [None]
        else:
            texts = [csv[name]]
        if not all(isinstance(text, str) for text in texts):
            raise BadMapping(f"csv.{name} must be {'a list of names' if name == 'columns' else 'a text'}")
    mapping = ImportMapping(**found, csv=csv)
    _check_accounts(mapping)
    for limit in filter(None, (mapping.overdraft_limit, mapping.daily_limit)):
        if limit != "unlimited" and not re.fullmatch(r"[0-9]{1,14}(\.[0-9]+)?", limit):
            raise BadMapping(f"a limit is a decimal number such as 100.00, or unlimited; got {limit!r}")
    return mapping


def read_object(data: Any, name: str, known: set[str] | frozenset[str]) -> dict[str, Any]:
    """A part of a mapping file; BadMapping when it is no object, or has a field that is not known."""
    if not isinstance(data, dict):
        raise BadMapping(f"{name} must be an object")
    for unknown in sorted(data.keys() - known):
        raise BadMapping(f"{unknown!r} is not a field of {name}; there are {', '.join(sorted(known))}")
    return data


def read_template(text: Any, name: str) -> Template:
    """The template in the field of that name; BadMapping when it is none."""
    if not isinstance(text, str):
        raise BadMapping(f"{name} must be a text, got {text!r}")
    try:
        return parse_template(text)
    except ValueError as error:
        raise BadMapping(f"{name}: {error}") from None


def _parse_kind(data: Any) -> dict[str, Any]:
    if isinstance(data, str):
        kinds, kind = {"": data}, read_template("", "kind")
    else:
        data = read_object(data, "kind", {"from", "values", *BY_SIGN})
        if "from" in data:
            kind = read_template(data["from"], "kind.from")
            values = data.get("values")
            kinds = read_object(values, "kind.values", set(values) if isinstance(values, dict) else set())
            allowed = {"from", "values"}
        else:
            kind, kinds, allowed = None, data, set(BY_SIGN)
        if not kinds or data.keys() - allowed:
            raise BadMapping("kind is one of the kinds, or has from and values, or positive and negative")
    for value in kinds.values():
        if value not in KINDS:
            raise BadMapping(f"{value!r} is not a kind of payment; there are {', '.join(KINDS)}")
    return {"kind": kind, "kinds": kinds}


def _parse_amount(data: Any) -> dict[str, Any]:
    if isinstance(data, str):
        data = {"from": data}
    data = read_object(data, "amount", {"from", "decimal", "group"})
    mark, group = data.get("decimal", "."), data.get("group", "")
    if mark not in (".", ",") or group not in ("", ".", ",", " ", "'", "\u00a0", "\u202f") or mark == group:
        raise BadMapping(f"amount: decimal is . or , and group another sign, got {mark!r} and {group!r}")
    return {"amount": read_template(data.get("from"), "amount.from"), "decimal_mark": mark, "group_mark": group}


def _parse_time(data: Any) -> dict[str, Any]:
    data = read_object(data, "time", {"from", "format", "order"})
    form, order = data.get("format"), data.get("order")
    if not isinstance(form, str) or ("%" not in form and form not in ("epoch_ms", "epoch_s")):
        raise BadMapping(f"time.format is one of strptime, epoch_ms or epoch_s; got {form!r}")
    if "%" in form:
        _check_format(form)
    if order not in (None, "line"):
        raise BadMapping(f"time.order is line or is left out, got {order!r}")
    if order and ("%" not in form or _OF_DAY.search(form)):
        raise BadMapping("time.order is for dates without a time of day")
    return {"time": read_template(data.get("from"), "time.from"), "time_format": form, "order_by_line": order == "line"}


def _check_format(form: str) -> None:
    """strptime says what is wrong with a format only when it is used; here on a text that fits none."""
    try:
        datetime.strptime("\n\0", form)
    except re.error:  # each directive is a named group of a regular expression
        raise BadMapping(f"time.format has a directive twice: {form!r}") from None
    except ValueError as error:
        if not str(error).startswith("time data"):
            raise BadMapping(f"time.format: {error}") from None


def _parse_accounts(data: Any) -> dict[str, Any]:
    data = read_object(data, "accounts", {"open", "overdraft_limit", "daily_limit", "one_in_flight"})
    found = {"open_accounts" if name == "open" else name: value for name, value in data.items()}
    for name, value in found.items():
        wanted = str if name.endswith("limit") else bool
        if not isinstance(value, wanted):
            raise BadMapping(
                f"accounts: {name.removesuffix('_accounts')} must be {'a text' if wanted is str else 'true or false'}"
            )
    return found


def _check_accounts(mapping: ImportMapping) -> None:
    for kind in sorted(set(mapping.kinds.values())):
        for side in sides(kind):
            if getattr(mapping, side) is None and (mapping.account is None or len(sides(kind)) > 1):
                raise BadMapping(f"{side} is missing, which {kind} needs")
    for name, kinds in (("pending_id", {"CAPTURE", "VOID"}), ("original_payment_id", {"REVERSAL"})):
        if getattr(mapping, name) is None and kinds & set(mapping.kinds.values()):
            raise BadMapping(
                f"{name} is missing, which {' and '.join(sorted(kinds & set(mapping.kinds.values())))} needs"
            )


def sides(kind: Kind) -> tuple[str, ...]:
    """The accounts that a payment of this kind names."""
    if kind == "DEPOSIT":
        return ("creditor_account",)
    if kind in ("WITHDRAWAL", "HOLD", "VOID"):
        return ("debtor_account",)
    return "debtor_account", "creditor_account"
