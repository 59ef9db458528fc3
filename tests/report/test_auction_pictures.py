"""The sections about auctions in a real browser: on a phone and on a desk, in light and dark, everything unfolded too."""

import os
from pathlib import Path
from typing import Any

import pytest

from report.auctions import SECTIONS
from report.facts import AuctionFacts, RunFacts
from report.page import write_report
from tests.report.auction_rows import database, full_rows
from tests.report.browser import Browser, quiet

FACTS = AuctionFacts(
    {("LOST", "SENT"): 1_234_567},
    [("similar", 1_000, 120), ("most popular", 1_000, 60), ("random", 1_000, 40)],
    [("SHILL", 30, 29, 30, 1), ("IMPOSSIBLE_TRAVEL", 30, 29, 29, 0)],
)
HERE = ", ".join(f"#{name}" for name, _ in SECTIONS)
UNFOLD = "document.querySelectorAll('details').forEach(part => { part.open = true; })"
STICKS_OUT = """
(() => {
  const wide = document.documentElement.clientWidth;
  const own = node => !node.parentElement.closest('.scroll, svg') && node.getClientRects().length;
  return [...document.querySelectorAll('main *')].filter(own)
    .filter(node => { const at = node.getBoundingClientRect(); return at.left < -1 || at.right > wide + 1; })
    .map(node => node.outerHTML.slice(0, 120)).concat(
      document.documentElement.scrollWidth > wide ? [`the page is ${document.documentElement.scrollWidth} wide`] : []);
})()
"""
# Of each text in these sections: its colour against all that may lie behind it (WCAG 2.2).
CONTRASTS = f"""
(() => {{
  const numbers = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const seen = colour => numbers(colour).length === 3 || numbers(colour)[3] === 1;
  const light = colour => {{
    const [r, g, b] = numbers(colour).map(n => n / 255).map(n => n <= .04045 ? n / 12.92 : ((n + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  }};
  const ratio = (a, b) => {{
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + .05) / (low + .05);
  }};
  const found = [];
  for (const node of document.querySelectorAll('{HERE}')) for (const part of node.querySelectorAll('*')) {{
    if (![...part.childNodes].some(child => child.nodeType === 3 && child.data.trim()) || part.tagName === 'title') continue;
    const style = getComputedStyle(part);
    const grounds = [];
    for (let up = part; up; up = up.parentElement) {{
      const ground = getComputedStyle(up).backgroundColor;
      if (seen(ground)) {{ grounds.push(ground); break; }}
    }}
    const picture = part.closest('svg');
    const land = picture && picture.querySelector('.land');
    if (land) grounds.push(getComputedStyle(land).fill);
    const colour = picture ? style.fill : style.color;
    for (const ground of grounds) found.push([part.textContent.slice(0, 40), colour, ground, ratio(colour, ground)]);
  }}
  return found;
}})()
"""
PICTURES = """
[...document.querySelectorAll('svg.picture')].map(picture => {
  const box = picture.getBoundingClientRect();
  const rows = [...picture.querySelectorAll('text')].map(text => text.getBoundingClientRect());
  const cross = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const dots = [...picture.querySelectorAll('circle')].map(dot => dot.getBoundingClientRect());
  return {
    kind: picture.classList[1], width: box.width, height: box.height, room: picture.parentElement.clientWidth,
    lines: [...picture.querySelectorAll('path')].map(path => path.getBoundingClientRect().width),
    letters: rows.map(row => row.height), dots: dots.map(dot => dot.width),
    outside: [...rows, ...dots].filter(at => at.left < box.left - 9 || at.right > box.right + 9 || at.top < box.top - 9).length,
    overlaps: rows.filter((a, i) => rows.some((b, j) => i < j && cross(a, b))).length,
  };
})
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auctions")
    facts = RunFacts(title="Auctions", seed=1, hop_ms=5)
    write_report(database(folder / "v.sqlite", full_rows()), folder / "report.html", facts, [], FACTS)
    return folder / "report.html"


def opened(browser: Browser, page: Path, width: int, dark: bool) -> None:
    quiet(browser.open(page, width, dark=dark))
    shown = f"[...document.querySelectorAll('{HERE}')].filter(part => part.offsetHeight > 60).length"
    assert browser.evaluate(shown) == len(SECTIONS), "the sections are there"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out(browser: Browser, page: Path, width: int, dark: bool) -> None:
    opened(browser, page, width, dark)
    assert browser.evaluate(STICKS_OUT) == []
    browser.evaluate(UNFOLD)
    assert browser.evaluate(STICKS_OUT) == []
    if folder := os.environ.get("BEAM_ON_RAILS_PICTURES"):  # to look at
        browser.picture(Path(folder) / f"auctions-{width}-{'dark' if dark else 'light'}.png")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(browser: Browser, page: Path, dark: bool) -> None:
    opened(browser, page, 390, dark)
    browser.evaluate(UNFOLD)
    found = browser.evaluate(CONTRASTS)
    grounds = {ground for _, _, ground, _ in found}
    assert len(found) > 150 and len(grounds) >= 4, "cards, labels, the map's sea and its land"
    assert [line for line in found if line[3] < 4.5] == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_pictures_fit_and_their_words_do_not_meet(browser: Browser, page: Path, width: int) -> None:
    opened(browser, page, width, False)
    found: list[dict[str, Any]] = browser.evaluate(PICTURES)
    assert [one["kind"] for one in found] == ["story", "story", "map", "map"]
    for one in found:
        assert one["width"] == pytest.approx(one["room"], abs=1) and one["height"] > 120
        assert max(one["lines"]) > 0.5 * one["width"], "the price, or the land"
        assert len(one["letters"]) >= 2 and min(one["letters"]) >= 10
        assert (one["outside"], one["overlaps"]) == (0, 0), one
    assert [len(one["dots"]) for one in found] == [4, 1, 5, 3]
    assert min(dot for one in found for dot in one["dots"]) >= 5, "a dot is no speck on a phone"


def test_the_checks_can_fail(browser: Browser, page: Path) -> None:
    opened(browser, page, 390, True)
    browser.evaluate("document.querySelector('#ads p').style.width = '500px'")
    assert "500px" in browser.evaluate(STICKS_OUT)[0]
    browser.evaluate("document.querySelector('#ads p').style.color = '#445'")
    low = [line for line in browser.evaluate(CONTRASTS) if line[3] < 4.5]
    assert len(low) == 1 and low[0][0].startswith("Who is about to lose")
    browser.evaluate("document.querySelectorAll('.story text').forEach(text => text.setAttribute('y', '50%'))")
    assert browser.evaluate(PICTURES)[0]["overlaps"] > 0
