"""Secrets by reference: `env:NAME` or `file:/PATH`, resolved on the worker that needs them and nowhere else."""

import os
import re

from transforms.errors import InputError, one_line

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")
_MOST_BYTES = 1 << 16  # of a file with a secret


class SecretError(InputError):
    """A reference that is none, or that leads to nothing. Names are shown, never values."""


def is_reference(value: str) -> bool:
    """Whether the value is meant as a reference, right or wrong."""
    return value.startswith(("env:", "file:"))


def check_reference(name: str, value: str) -> None:
    """SecretError unless the value of `name` is a reference."""
    if not is_reference(value):
        raise SecretError(f"{name} is a secret: give a reference to it, env:NAME or file:/PATH")
    if not _REFERENCE.fullmatch(value):
        raise SecretError(f"{name}: a reference is env:NAME or file:/PATH, from the root")


def resolve(name: str, value: str) -> str:
    """What the value of `name` refers to, or the value itself if it is no reference.

    One line break at the end of a file is not part of the secret. SecretError for a variable or a file that is not there, or is empty.
    """
    kind, _, where = value.partition(":")
    if kind == "env":
        if not (found := os.environ.get(where)):
            raise SecretError(f"{name}: no environment variable {one_line(where)}")
        return found
    if kind == "file":
        try:
            with open(where, encoding="utf-8", newline="") as file:
                text = file.read(_MOST_BYTES + 1)
        except (OSError, UnicodeDecodeError) as error:
            what = getattr(error, "strerror", None) or "is not UTF-8"
            raise SecretError(f"{name}: {one_line(where)}: {what}") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text or len(text) > _MOST_BYTES:
            raise SecretError(f"{name}: {one_line(where)}: is empty or too large for a secret")
        return text
    return value
