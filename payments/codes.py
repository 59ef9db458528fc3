"""ISO 20022 status reason codes that payments are refused with, from the external code set ExternalStatusReason1Code.

Checked against that set (2022 edition). Where our use is narrower or wider than its definition:

- AC01 is the set's "account number is invalid or missing" of either side; here it is the debtor's, and AC03 the creditor's.
- AC04 and AC06 are said of whichever account refuses; the set has AC05 and AC07 for a closed debtor or creditor.
- AM02 is the set's "greater than allowed maximum"; here also a negative amount, more than is held, and more than is left to reverse.
- AM05 is the set's "duplication"; here only an id used again with other content. A true repeat has the status DUPL instead.
- AG01 is the set's "forbidden on this type of account"; here the same account on both sides.
- DS24 is the set's "waiting time expired due to incomplete order"; here a hold that has expired.
- FRAD is the set's reason of a cancellation after fraud; here a velocity rule that was broken.
- TM01 is the set's "received after the agreed cut-off time"; here a claimed time older than ids are remembered.
- AB03 ("settlement aborted due to timeout") is never said: nothing here ends a payment by a timeout but the expiry of a hold.
- CANC of a voided hold has no reason; the set knows statuses and reasons apart, and a void is what its owner asked for.

NARR says that the `detail` of the status carries the reason.
"""

UNKNOWN_DEBTOR = "AC01"
UNKNOWN_CREDITOR = "AC03"
ACCOUNT_CLOSED = "AC04"
ACCOUNT_BLOCKED = "AC06"
FORBIDDEN = "AG01"
ZERO_AMOUNT = "AM01"
AMOUNT_NOT_ALLOWED = "AM02"
CURRENCY_NOT_ALLOWED = "AM03"
INSUFFICIENT_FUNDS = "AM04"
DUPLICATE = "AM05"
LIMIT_EXCEEDED = "AM14"
INCORRECT_FIELD = "CH16"  # content is incorrect; `detail` names the field
FIELD_NOT_ALLOWED = "CH17"  # element is not allowed; `detail` names the field
FIELD_MISSING = "CH21"  # mandatory element is missing; `detail` names the field
HOLD_EXPIRED = "DS24"
FUTURE_DATE = "DT04"
FRAUD = "FRAD"
NARRATIVE = "NARR"
TOO_OLD = "TM01"
