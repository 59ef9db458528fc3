"""The page in a real browser: pictures that show something, on a phone and on a desk, in light and dark, without a word to the network."""

import os
from pathlib import Path

import pytest

from report.facts import RunFacts
from report.page import write_report
from tests.report.browser import Browser, quiet
from tests.report.ledger import small_bank

SHAPES = """
[...document.querySelectorAll('.chart')].filter(place => place.clientWidth > 0).map(place => {
  const paths = [...place.querySelectorAll('.mark-rect path, .mark-line path')].filter(path => {
    const box = path.getBBox();
    const style = getComputedStyle(path);
    const seen = (style.fill !== 'none' && style.fillOpacity > 0) || style.stroke !== 'none';
    return box.width > 0.5 && box.height > 0.5 && seen;
  });
  const colours = new Set(paths.map(path => getComputedStyle(path).fill));
  const text = [...place.querySelectorAll('text')].filter(text => text.textContent && text.getBBox().width > 0);
  const svg = place.querySelector('svg').getBoundingClientRect();
  return {id: place.id, marks: paths.length, labels: text.length, colours: [...colours], width: svg.width, room: place.clientWidth,
          height: svg.height, high: place.clientHeight};
})
"""
SHOWN = """
window.shown = name => {
  const probe = document.createElement('i');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}; null
"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_report(
        small_bank().write(folder / "views.sqlite"), folder / "report.html", RunFacts(hop_ms=5, seconds=2.5, seed=1)
    )
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_picture_shows_something(browser: Browser, page: Path, width: int, dark: bool) -> None:
    quiet(browser.open(page, width, dark=dark))
    assert browser.evaluate(OVERFLOW) <= 0
    shapes = browser.evaluate(SHAPES)
    assert [shape["id"] for shape in shapes] == ["money-0", "counts-0", "in-flight-0", "balances-0", "latency-0"]
    browser.evaluate(SHOWN)
    blue, green = browser.evaluate("[shown('blue'), shown('green')]")
    for shape in shapes:
        assert shape["marks"] >= 2, shape
        assert shape["labels"] >= 4, shape
        assert shape["width"] <= shape["room"] + 1, shape
        assert shape["width"] > 0.8 * shape["room"], shape
        assert shape["height"] <= shape["high"] + 1, shape
    assert blue in shapes[0]["colours"]
    assert green in shapes[1]["colours"]
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 21, 24)" if dark else "rgb(246, 246, 243)")
    if folder := os.environ.get("BEAM_ON_RAILS_PICTURES"):  # to look at
        browser.picture(Path(folder) / f"report-{width}-{'dark' if dark else 'light'}.png")


@pytest.mark.parametrize("width", [320, 600, 768])
def test_nothing_sticks_out(browser: Browser, page: Path, width: int) -> None:
    quiet(browser.open(page, width))
    assert browser.evaluate(OVERFLOW) <= 0
    # with everything unfolded, too
    browser.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert browser.evaluate(OVERFLOW) <= 0


def test_the_theme_may_change_while_it_is_open(browser: Browser, page: Path) -> None:
    browser.open(page, 1000)
    browser.evaluate(SHOWN)
    fill = "getComputedStyle(document.querySelector('#money-0 .mark-rect path')).fill"
    light = browser.evaluate(fill)
    browser.media(dark=True)
    assert browser.evaluate(fill) != light
    assert browser.evaluate(fill) == browser.evaluate("shown('blue')")


def pick(browser: Browser, currency: str) -> None:
    browser.evaluate(
        "(() => { const picker = document.getElementById('currency');"
        f" picker.value = '{currency}'; picker.dispatchEvent(new Event('change')); }})()"
    )


def test_another_currency_is_drawn_when_it_is_picked(browser: Browser, page: Path) -> None:
    browser.open(page, 800)
    pick(browser, "JPY")
    assert [shape["id"] for shape in browser.evaluate(SHAPES)] == ["money-1", "counts-1", "balances-1", "latency-0"]
    assert all(shape["marks"] for shape in browser.evaluate(SHAPES)[:2])
    shown = "[...document.querySelectorAll('.panel')].filter(p => p.offsetHeight).map(p => p.dataset.currency).join()"
    assert browser.evaluate(shown) == "JPY"
    browser.resize(500)  # while the first one is hidden
    browser.settle()
    pick(browser, "EUR")
    browser.settle()
    for shape in browser.evaluate(SHAPES):
        assert 0.8 * shape["room"] < shape["width"] <= shape["room"] + 1, shape


def test_pictures_follow_the_width_of_the_window(browser: Browser, page: Path) -> None:
    browser.open(page, 1200)
    wide = browser.evaluate(SHAPES)
    browser.resize(360)
    browser.settle()
    for before, after in zip(wide, browser.evaluate(SHAPES), strict=True):
        assert after["width"] <= after["room"] + 1 < before["width"]


@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "finger"])
def test_a_bar_says_its_figures(browser: Browser, page: Path, touch: bool) -> None:
    browser.open(page, 360 if touch else 1000)
    place = browser.evaluate(
        "(() => { const box = document.getElementById('money-0'); box.scrollIntoView({block: 'center', behavior: 'instant'});"
        " const at = box.getBoundingClientRect(); return {x: at.left + at.width / 2, y: at.top + 60}; })()"
    )
    browser.settle()
    browser.point(place["x"], place["y"], touch)
    browser.settle()
    tip = browser.evaluate("[...document.querySelectorAll('.tip td')].map(cell => cell.textContent)")
    assert tip[::2] == ["From", "Confirmed", "Money"]
    assert tip[1].startswith("2026-01-01 00:00:")
    assert tip[5].startswith("EUR\u00a0")
    box = browser.evaluate(
        "(() => { const at = document.querySelector('.tip').getBoundingClientRect(); return [at.left, at.right]; })()"
    )
    assert 0 <= box[0] < box[1] <= (360 if touch else 1000)


def test_without_scripts_every_figure_is_there(browser: Browser, page: Path) -> None:
    quiet(browser.open(page, 360, dark=True, script=False))
    browser.command("Emulation.setScriptExecutionDisabled", value=False)
    panels = "[...document.querySelectorAll('.panel')].filter(panel => panel.offsetHeight > 0).length"
    assert browser.evaluate(panels) == 2
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 24)"
    assert browser.evaluate(OVERFLOW) <= 0


def test_print_is_light_and_has_every_currency(browser: Browser, page: Path) -> None:
    browser.open(page, 700, dark=True)
    browser.media(dark=True, media="print")
    browser.settle()
    shapes = browser.evaluate(SHAPES)
    assert [shape["id"] for shape in shapes][-4:] == ["money-1", "counts-1", "balances-1", "latency-0"]
    assert all(shape["marks"] for shape in shapes)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate(OVERFLOW) <= 0


def test_the_browser_would_tell(browser: Browser, tmp_path: Path) -> None:
    """A planted error, request and dialog are seen, so the tests above can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.log('x')</script><img src='http://127.0.0.1:9/x.png'><script>null.x</script>")
    found = browser.open(bad, 360)
    assert len(found.errors) >= 2
    assert found.requests == ["http://127.0.0.1:9/x.png"]
    bad.write_text("<script>alert(1)</script>")
    assert browser.open(bad, 360).dialogs == ["1"]
