"""ISO 20022 status reason codes that payments are refused with.

Taken from the external code set "ExternalStatusReason1Code" where it has them. FRAD and TM01 are used as that set defines them
(fraudulent origin; cut-off time passed). DS24 stands for an expired hold: the set has it for an order whose waiting time ran out.
NARR says that the `detail` of the status carries the reason.
"""

UNKNOWN_DEBTOR = "AC01"
UNKNOWN_CREDITOR = "AC03"
ACCOUNT_CLOSED = "AC04"
ACCOUNT_BLOCKED = "AC06"
ZERO_AMOUNT = "AM01"
AMOUNT_NOT_ALLOWED = "AM02"
CURRENCY_NOT_ALLOWED = "AM03"
INSUFFICIENT_FUNDS = "AM04"
DUPLICATE = "AM05"
LIMIT_EXCEEDED = "AM14"
HOLD_EXPIRED = "DS24"
INVALID_DATE = "DT01"
FRAUD = "FRAD"
FORBIDDEN = "AG01"
TOO_OLD = "TM01"
NARRATIVE = "NARR"
