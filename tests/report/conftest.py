"""What tests of the report in a browser share."""

from collections.abc import Iterator

import pytest

from tests.report.browser import Browser, started


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with started(chromium) as browser:
        yield browser
