"""The typed error of pure code: what makes a dead letter (contract line 10)."""


class BadRecord(Exception):
    """A record that cannot be accepted.

    code: short upper-case constant, listed in docs/guarantees; detail: names and positions, never values of the record.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail
