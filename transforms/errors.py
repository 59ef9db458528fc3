"""Errors with a meaning: `BadRecord` makes a dead letter (contract line 10), `InputError` is told to the user in one line."""

import re
from collections.abc import Iterable, Iterator

CODES = {
    "EMPTY_VALUE": "no value, or one without bytes",
    "BAD_MAGIC": "the value does not begin with a zero byte: it is not framed",
    "UNKNOWN_SCHEMA": "the frame has a schema id that is not in schemas/ids.json",
    "TRUNCATED": "the value ends before the schema says",
    "TRAILING_BYTES": "the value goes on after the schema says that it ends",
    "TOO_LARGE": "more bytes than a message may have",
    "TOO_MANY_ITEMS": "more items in arrays and maps than a message may have",
    "TOO_DEEP": "records nested deeper than a message may have them",
    "BAD_VARINT": "an integer out of its range, or in more bytes than it needs",
    "BAD_LENGTH": "a negative length or count",
    "SECOND_BLOCK": "an array or map in more than one block",
    "DUPLICATE_KEY": "a map with the same key twice",
    "BAD_INDEX": "an enum symbol or union branch that the schema does not have",
    "BAD_BOOLEAN": "a boolean that is neither 0 nor 1",
    "BAD_FLOAT": "a signalling NaN",
    "BAD_UTF8": "a string that is not UTF-8",
}
"""Codes of values that cannot be decoded; those of the engine and of the business stand where they are raised."""


class InputError(Exception):
    """Files, databases or logs are not what the job needs, which the user can put right. The message is one line: what and where."""


class BadRecord(Exception):
    """A record that cannot be accepted.

    code: short upper-case constant; detail: names and positions, never values of the record.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def find_error(error: BaseException, *kinds: type[BaseException]) -> str | None:
    """The message of the first error of these kinds, or of kinds derived from them, that a failed job died of, on one line; else None.

    Runners hand on the text of a worker's error, or the error with the step's name behind its message: the first is looked for, the
    second is taken off.
    """
    if isinstance(error, kinds):
        return _STEP.sub("", " ".join(str(error).split()))
    names = "|".join(re.escape(kind.__name__) for kind in _derived(kinds))
    found = re.search(rf"^(?:[\w.]+\.)?(?:{names}): (.*)$", str(error), re.MULTILINE)
    return _STEP.sub("", found[1]) if found else None


def one_line(text: str) -> str:
    """The text with all that is not shown, line breaks and lone surrogates among it, as Python's escapes: what is one line everywhere."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)


_STEP = re.compile(r" \[while running '.*'\]$")


def _derived(kinds: Iterable[type[BaseException]]) -> Iterator[type[BaseException]]:
    for kind in kinds:
        yield kind
        yield from _derived(kind.__subclasses__())
