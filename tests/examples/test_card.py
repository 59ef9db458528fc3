"""The card example of the README: a new keyed processor in about 20 lines, run as it stands there."""

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).with_name("card.py")
MARKER = "<!-- card-example -->"


def test_it_runs_and_prints_the_balances(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == [
        "CardBalance(card='123', balance=456)",
        "CardBalance(card='123', balance=500)",
        "CardBalance(card='7', balance=10)",
    ]
    assert lines.index("CardBalance(card='123', balance=456)") < lines.index("CardBalance(card='123', balance=500)")


def test_the_processor_takes_about_20_lines() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    body = text[text.index("class Deposit") : text.index("if __name__")]
    assert len([line for line in body.splitlines() if line.strip()]) <= 22


def test_the_readme_has_it_word_for_word(root: Path) -> None:
    readme = root / "README.md"
    if not readme.exists():
        pytest.skip("no README.md yet")
    _, block, _ = readme.read_text(encoding="utf-8").split(MARKER)
    assert block.strip() == f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```"
