"""Canaries: secrets and card numbers put into a run, and the places where they must not be found afterwards (invariant 11)."""

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SECRET = "BEAM_ON_RAILS_CHAOS_SECRET"
"""The variable with the secret of a run, made anew for each: the password of the broker, and the key of the payment ids behind bids."""

_PIECE = 1 << 20  # bytes that are looked at together


def card_number(rng: random.Random) -> str:
    """16 digits with a right check digit, of a range that no bank has issued to anybody (4000 00..)."""
    digits = "400000" + "".join(str(rng.randrange(10)) for _ in range(9))
    return digits + str(-_luhn(digits + "0") % 10)


def _luhn(digits: str) -> int:
    """The Luhn sum of a whole number; a right one is a multiple of 10."""
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled)


def forms(secret: str) -> list[bytes]:
    """How a text may stand somewhere: as it is, in groups of four, as UTF-16 (in Java), as hexadecimal digits."""
    found = [secret.encode(), secret.encode("utf-16-be"), secret.encode("utf-16-le"), secret.encode().hex().encode()]
    if secret.isdigit():
        groups = re.findall(".{1,4}", secret)
        found += [" ".join(groups).encode(), "-".join(groups).encode()]
    return found


def scan(places: Iterable[tuple[str, Iterable[bytes]]], canaries: Mapping[str, str]) -> list[str]:
    """A line for each canary that stands in a place: the canary's name and the place, never the canary.

    places: name, and the bytes in pieces; a canary is found across pieces too.
    """
    wanted = {name: forms(canary) for name, canary in sorted(canaries.items())}
    longest = max((len(form) for all_forms in wanted.values() for form in all_forms), default=1)
    found = []
    for where, pieces in places:
        left = dict(wanted)
        tail = b""
        for piece in pieces:
            text = tail + piece
            for name in [name for name, all_forms in left.items() if any(form in text for form in all_forms)]:
                found.append(f"{name} stands in {where}")
                del left[name]
            tail = text[-longest:]
    return found


def files(root: Path, *without: str) -> Iterator[tuple[str, Iterable[bytes]]]:
    """All files below `root` but those below the folders `without`, by their paths from there. What vanishes meanwhile is passed by."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not any(name == each or name.startswith(f"{each}/") for each in without) and path.is_file():
            yield name, _pieces(path)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError:
        return
