"""What goes wrong with the stack, in one line for people."""


class StackError(Exception):
    """What, where and what to do about it, in one line."""

    status = 1
    """The exit status of the command."""


class Missing(StackError):
    """Something that this machine lacks and that could not be installed."""

    status = 2
