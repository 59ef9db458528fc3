"""What codes mean, for readers who do not know ISO 20022 by heart."""

from payments import codes

STATUSES = {
    "ACCC": "done",
    "RJCT": "rejected",
    "CANC": "cancelled: voided or expired",
    "PDNG": "open hold",
    "ACSP": "debtor posted, in process",
    "ACTC": "admitted, in process",
    "RCVD": "received",
    "DUPL": "duplicate without effect",
}

REASONS = {
    value: name.lower().replace("_", " ")
    for name, value in vars(codes).items()
    if name.isupper() and isinstance(value, str)
}

STAGES = {"payments.admission": "at admission", "payments.accounts": "at the account"}


def spoken(code: str) -> str:
    """`ACCEPTED_OUTBID` as `accepted outbid`."""
    return code.replace("_", " ").lower()
