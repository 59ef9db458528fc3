"""Addresses: ISO 3166 countries, and the form of a postcode where it is known."""

import re

from schemas.auctions import Address

MAX_CHARS = 100

_CODES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI
CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ
GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS
LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG
PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK
TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""

COUNTRIES = frozenset(_CODES.split())
"""ISO 3166-1 alpha-2, officially assigned."""

_POSTCODES = {
    country: re.compile(pattern)
    for pattern, countries in {
        r"[0-9]{3}": "IS FO",
        r"[0-9]{4}": "AT AU BE BG CH CY DK HU LI LU NO NZ PH SI TN ZA",
        r"[0-9]{5}": "DE EE ES FI FR HR IT LT MC MX MY SA SM TH TR UA",
        r"[0-9]{6}": "CN IN RO RU SG",
        r"[0-9]{3} ?[0-9]{2}": "CZ GR SE SK",
        r"[0-9]{2}-[0-9]{3}": "PL",
        r"[0-9]{4}-[0-9]{3}": "PT",
        r"[0-9]{5}-?[0-9]{3}": "BR",
        r"[0-9]{3}-?[0-9]{4}": "JP",
        r"[0-9]{5}(-[0-9]{4})?": "US",
        r"[1-9][0-9]{3} ?[A-Z]{2}": "NL",
        r"LV-[0-9]{4}": "LV",
        r"[0-9]{7}|[0-9]{5}": "IL KR",
        r"[ABCEGHJ-NPRSTVXY][0-9][A-Z] ?[0-9][A-Z][0-9]": "CA",
        r"[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}|GIR ?0AA": "GB",
        r"[A-Z][0-9][0-9W] ?[A-Z0-9]{4}": "IE",
    }.items()
    for country in countries.split()
}


def address_error(address: Address) -> str | None:
    """The field of an address that cannot be right, or None."""
    country, region, city, postcode = address
    if country not in COUNTRIES:
        return "country"
    for name, text in (("region", region), ("city", city), ("postcode", postcode)):
        if text is not None and not 0 < len(text) <= MAX_CHARS:
            return name
    pattern = _POSTCODES.get(country)
    if postcode is not None and pattern is not None and not pattern.fullmatch(postcode):
        return "postcode"
    return None
