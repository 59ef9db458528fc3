"""An auction's story: a picture of its price and of what people were ready to pay, what similar items were sold for, and its decisions."""

from collections.abc import Sequence

from auctions.stories import MOVES
from report import svg, texts
from report.auction_data import Auction, Seen, Step, Story
from report.html import Child, Html, join, tag
from report.parts import Cell, legend, plural, section, table
from report.words import spoken

_TOP, _FLOOR = 0.1, 0.97  # where the highest figure stands, and zero, in parts of the picture's height
_SIDE = 0.012  # room at either side for half a dot
_LEVELS = {"TAGS": "same tags", "CATEGORY": "same category", "ALL": "any item"}


def stories_section(stories: Sequence[Story]) -> Html:
    """One after another."""
    none = tag("p", "There is no auction.", class_="note")
    return section("stories", "Stories", [story_figure(*story) for story in stories] or none)


def story_figure(auction: Auction, steps: Sequence[Step], seen: Sequence[Seen]) -> Html:
    """From start to close."""
    money = lambda minor: "–" if minor is None else texts.money(minor, auction.currency)  # noqa: E731
    heads = (("", "Received"), ("", "Bidder"), ("", "Decision"), ("num", "Maximum"), ("num", "Price"), ("", "Leader"))
    rows: list[list[Cell]] = [
        [
            ("when", texts.moment(step.received_at)),
            ("", step.bidder),
            ("", spoken(step.status) + (" (automatic)" if step.automatic else "")),
            ("num", money(step.maximum)),
            ("num", money(step.price)),
            ("", step.leader or "–"),
        ]
        for step in steps
    ]
    colours = [("blue", "price"), ("green", "a maximum that took the lead"), ("pale", "one that did not")]
    colours += [("red", "one taken back")] if any(step.status == "RETRACTED" for step in steps) else []
    colours += [("dashes", "reserve")] if auction.reserve is not None else []
    colours += [("usual", "what half of similar items were sold for")] if seen else []
    colours += [("axis", "the end before it was extended")] if auction.extensions else []
    moves = [step for step in steps if step.status in MOVES]
    times = (
        tag("span", texts.moment(auction.starts_at)[:19]),
        tag("span", f"{texts.moment(auction.effective_end)[:19]} UTC", class_="end"),
    )
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", f"{auction.title} ({auction.auction_id})"),
            tag("p", f"{_end(auction)} {_facts(auction, steps)}", class_="lead"),
            legend(colours),
        ),
        _picture(auction, moves, seen),
        tag("p", times, class_="times"),
        _seen_table(auction, seen) if seen else None,
        tag("details", tag("summary", "Decisions"), table("Decisions", heads, rows, "wide", tall=True)),
        class_="block",
    )


def _end(auction: Auction) -> str:
    """How it ended, a sentence."""
    if auction.outcome is None:
        return "Open."
    if auction.winner is None or auction.price is None:
        return f"{spoken(auction.outcome).capitalize()}."
    return f"{spoken(auction.outcome).capitalize()} to {auction.winner} for {texts.amount(auction.price, auction.currency)}."


def _facts(auction: Auction, steps: Sequence[Step]) -> str:
    """What else is said of it, a sentence."""
    bids = sum(not step.automatic and not step.status.startswith("RETRACT") for step in steps)
    facts = [
        f"{texts.count(bids)} {plural(bids, 'bid')}",
        f"start {texts.money(auction.start_price, auction.currency)}",
    ]
    for name, minor in (("reserve", auction.reserve), ("buy now", auction.buy_now)):
        facts += [] if minor is None else [f"{name} {texts.money(minor, auction.currency)}"]
    facts += ["money behind bids"] if auction.backed else []
    if auction.extensions:
        moved = texts.duration(auction.effective_end - auction.ends_at)
        facts.append(f"{texts.count(auction.extensions)} {plural(auction.extensions, 'extension')} by {moved}")
    return f"{', '.join(facts)}."


def _seen_table(auction: Auction, seen: Sequence[Seen]) -> Html:
    """What bidders saw of similar items, each from when the auction asked: when it was listed, and when its end was near."""
    heads = (("", "Asked"), *(("num", name) for name in ("Low", "Median", "High", "Sold")), ("", "Similar by"))
    rows: list[list[Cell]] = [
        [
            ("when", texts.moment(each.asked_at)[:19]),
            *(("num", texts.money(minor, auction.currency)) for minor in (each.low, each.median, each.high)),
            ("num", texts.count(each.n)),
            ("", _LEVELS.get(each.level, spoken(each.level))),
        ]
        for each in seen
    ]
    note = (
        f"Prices in {auction.currency} that bidders saw of similar items, asked for when the item is listed and when its end is near. "
        "Half of the sales lie between low and high."
    )
    return join(table("Prices of similar items", heads, rows, "wide"), tag("p", note, class_="note"))


def _picture(auction: Auction, steps: Sequence[Step], seen: Sequence[Seen]) -> Html:
    """Price as a line of steps, bids as dots at their maxima, prices of similar items as a band; what is above one and a half of the
    highest price is drawn at the top."""
    begin, end = auction.starts_at, max(auction.effective_end, auction.starts_at + 1)
    prices = [step.price for step in steps if step.price is not None]
    top = max([auction.start_price, auction.reserve or 0, *prices]) * 3 // 2 or 1

    def across(at: int) -> float:
        return _SIDE + (1 - 2 * _SIDE) * min(1.0, max(0.0, (at - begin) / (end - begin)))

    def down(minor: int) -> float:
        return _FLOOR - (_FLOOR - _TOP) * min(minor, top) / top

    shapes: list[Child] = [
        svg.box("usual", across(each.asked_at), across(each.until or end), down(each.high), down(each.low)) for each in seen
    ]
    shapes.append(svg.line("axis", down=_FLOOR))
    named = ticks(top)
    shapes += [svg.line("grid", down=down(minor)) for minor in named]
    if auction.reserve is not None:
        shapes.append(svg.line("dashes", down=down(auction.reserve)))
    if auction.extensions:
        shapes.append(svg.line("planned", at=across(auction.ends_at)))
    path = [f"M{_fine(across(begin))} {_fine(down(auction.start_price))}"]
    path += [f"H{_fine(across(s.received_at))}V{_fine(down(s.price))}" for s in steps if s.price is not None]
    shapes.append(svg.outline("".join(path) + f"H{_fine(across(end))}", "price"))
    # Over the line, so that it does not go through them, and under the dots, so that they hide none.
    shapes += [svg.label(texts.money(minor, auction.currency), 0, down(minor), 0, -4) for minor in named]
    for step in steps:
        if step.maximum is not None and not step.automatic:
            colour = "green" if step.leader == step.bidder else "red" if step.status == "RETRACTED" else "pale"
            said = f"{step.bidder}: {texts.money(step.maximum, auction.currency)}, {spoken(step.status)}"
            shapes.append(svg.dot(across(step.received_at), down(step.maximum), 3.5, colour, said))
    said = f"Price of {auction.title} over its time, with the maxima of bids"
    return svg.picture(said + (" and what similar items were sold for" if seen else ""), "story", *shapes)


def _fine(share: float) -> str:
    return f"{share * svg.FINE:.1f}"


def ticks(top: int) -> list[int]:
    """Two to four round figures above zero, up to `top` (minor units)."""
    size = 10 ** max(0, len(str(top)) - 2)
    step = next(n * size for n in (1, 2, 5, 10, 20, 50, 100) if top // (n * size) <= 4)
    return list(range(step, top + 1, step))
