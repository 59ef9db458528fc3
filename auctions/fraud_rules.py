"""Thresholds of the fraud signals (A9). They are events: a Rule of a signal's name changes them in a running stage, from where it stands.

A rule's parameters take the place of the built-in ones of the same name; those that it does not name are the built-in ones again.
"""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.auctions import FraudRule, FraudRules
from schemas.rails import Rule
from transforms.errors import BadRecord

BUILT_IN: dict[str, dict[str, int]] = {
    # Score in thousandths (of 10,000), and auctions lost to the same seller.
    "fraud.shill": {"min_score": 7_300, "min_losses": 4},
    # First bids in the last 60 s of a hard close: at least so many auctions, and such a share of them in %.
    "fraud.sniping": {"min_auctions": 4, "min_share": 75},
    # Answers to another's bid within reaction_ms: at least so many, and such a share of all answers in %.
    "fraud.hammer": {"reaction_ms": 1_000, "min_quick": 5, "min_share": 50},
    # A bid that held the price up was taken back: the price fell by so many %, after so many % of the duration.
    "fraud.shielding": {"min_drop": 40, "min_elapsed": 50},
    # Two bidders: auctions together, such a share of the one's auctions in %, answers to each other per auction in hundredths.
    "fraud.collusion": {"min_auctions": 5, "min_share": 70, "min_alternations": 200},
    # A bidder with one seller: auctions, share of all their bids in %, bids per auction in hundredths, auctions won in % at most.
    "fraud.overlap": {"min_auctions": 5, "min_share": 80, "min_bids": 200, "max_wins": 10},
    # Speed, and how far off two places may be together (two cells of about 26 km).
    "fraud.travel": {"max_kmh": 900, "blur_km": 60},
}

MOST = {"min_score": 10_000, **dict.fromkeys(("min_share", "min_drop", "min_elapsed", "max_wins"), 100)}
"""Of thresholds of a figure that has an end, the score of 10 and all shares: beyond it nobody would ever pass, or everybody."""


class Thresholds(NamedTuple):
    """A rule in force: its version (0 is the built-in one) and all its parameters."""

    version: int
    parameters: dict[str, int]


def thresholds(rules: FraudRules, name: str) -> Thresholds | None:
    """The rule of that name, or None if it was taken out of force."""
    held = rules.rules.get(name)
    if held is None:
        return Thresholds(0, BUILT_IN[name])
    return Thresholds(held.version, {**BUILT_IN[name], **held.parameters}) if held.active else None


def rule_error(name: str, parameters: Mapping[str, int]) -> str | None:
    """What is wrong with the parameters of a rule of that name; None if nothing is."""
    known = BUILT_IN[name]
    if any(given not in known or value < 0 for given, value in parameters.items()):
        return f"{name} has {', '.join(known)}, none of them negative"
    beyond = next((given for given, value in parameters.items() if value > MOST.get(given, value)), None)
    if beyond is not None:
        return f"{name}: {beyond} must be at most {MOST[beyond]}"
    return None


def change_rules(rules: FraudRules, event: Rule) -> bool:
    """Puts a rule in force. False: it is not newer than the one held. Rules of other names belong to other stages."""
    if event.name not in BUILT_IN:
        return True
    held = rules.rules.get(event.name)
    if held is not None and event.version <= held.version:
        return False
    wrong = rule_error(event.name, event.parameters)
    if wrong is not None:
        raise BadRecord("BAD_RULE", wrong)
    rules.rules[event.name] = FraudRule(event.version, event.active, dict(event.parameters))
    return True
