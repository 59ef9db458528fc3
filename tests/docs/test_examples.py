"""The examples of the documents run as they stand there, and the reference of the toolkit leaves nothing out."""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import apache_beam as beam
import pytest

from tests.conftest import ROOT

REFERENCE = ROOT / "docs" / "transforms.md"
PAGES = ["README.md", "docs/transforms.md", "docs/reading-from-outside.md"]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)


def python_blocks(text: str) -> Iterator[tuple[int, str]]:
    """(number of the line before it, source) of each block."""
    for block in _BLOCK.finditer(text):
        yield text.count("\n", 0, block.start(1)), block[1]


def run_page(page: str, text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs the blocks of a page, one after another, as if they stood in one script; gives their number."""
    script = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", script)  # where pickle looks for the classes of a script
    monkeypatch.setattr(sys, "argv", [page])  # Beam would take pytest's arguments for its own
    count = 0
    for line, source in python_blocks(text):
        # Empty lines in front make the lines of a traceback those of the page.
        exec(compile("\n" * line + source, page, "exec"), vars(script))
        count += 1
    return count


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(page, (ROOT / page).read_text(encoding="utf-8"), monkeypatch)


def test_an_example_that_fails_is_named_by_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# Page\n\n```python\none = 1\n```\n\n```sh\nls\n```\n\n```python\nassert one == 1\nassert one == 2\n```\n"
    with pytest.raises(AssertionError) as failed:
        run_page("page.md", text, monkeypatch)
    last = failed.traceback[-1]
    assert (str(last.path).endswith("page.md"), last.lineno + 1) == (True, 13)


# --- what the reference says ---


@cache
def public_transforms() -> dict[str, type]:
    found = {}
    for path in sorted((ROOT / "transforms").glob("[!_]*.py")):
        module = importlib.import_module(f"transforms.{path.stem}")
        for name, kind in vars(module).items():
            own = inspect.isclass(kind) and kind.__module__ == module.__name__ and not name.startswith("_")
            if own and issubclass(kind, beam.PTransform):
                found[name] = kind
    return found


@cache
def sections() -> dict[str, str]:
    """The text under each heading of the reference, up to the next heading of any level."""
    text = REFERENCE.read_text(encoding="utf-8")
    marks = list(_HEADING.finditer(_BLOCK.sub(lambda block: re.sub("[^\n]", " ", block[0]), text)))
    ends = [m.start() for m in marks[1:]] + [len(text)]
    return {m[2]: text[m.end() : end] for m, end in zip(marks, ends, strict=True)}


@pytest.mark.parametrize("name", public_transforms())
def test_each_transform_has_a_section_with_its_module_its_arguments_and_an_example(name: str) -> None:
    kind = public_transforms()[name]
    found = [text for heading, text in sections().items() if name in re.findall(r"\w+", heading)]
    assert len(found) == 1, f"{name}: {len(found)} headings name it"
    (text,) = found
    prose = _BLOCK.sub("", text)
    assert kind.__module__.replace(".", "/") + ".py" in prose
    takes_none = "__init__" not in {
        name for base in kind.__mro__[: kind.__mro__.index(beam.PTransform)] for name in vars(base)
    }
    parameters = [] if takes_none else [p.name for p in inspect.signature(kind).parameters.values()]
    signature = re.search(rf"`{name}\(([^`]*)\)`", prose)
    assert signature, f"{name}: its call is missing"
    assert re.findall(r"\w+", re.sub(r"=[^,]*", "", signature[1])) == parameters
    assert any(f"{name}(" in source for _, source in python_blocks(text)), f"{name}: no example uses it"


def test_links_lead_somewhere() -> None:
    text = _BLOCK.sub("", REFERENCE.read_text(encoding="utf-8"))
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in sections()}
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        assert (REFERENCE.parent / path).exists(), link
        assert path or anchor in anchors, link
