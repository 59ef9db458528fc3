"""Shared by all tests: data files, pipelines on a named engine, the Chromium for pictures, hypothesis' settings."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Two busy cores make single examples slow, which is no fault of the code; CI must not depend on luck.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

MakePipeline = Callable[..., TestPipeline]


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def make_pipeline() -> MakePipeline:
    """A function that gives a TestPipeline on a *named* engine; Beam's default is a switch that may try Prism.

    `make_pipeline()` is FnApiRunner, what launchers use. `make_pipeline(engine="BundleBasedDirectRunner")`, streaming,
    is for TestStream. More flags: `make_pipeline("--direct_num_workers=2", "--direct_running_mode=multi_processing")`.
    """
    engines = {"FnApiRunner": FnApiRunner, "BundleBasedDirectRunner": BundleBasedDirectRunner}

    def make(*flags: str, engine: str = "FnApiRunner", streaming: bool | None = None) -> TestPipeline:
        if streaming is None:
            streaming = engine == "BundleBasedDirectRunner"
        options = PipelineOptions([*flags, *(["--streaming"] if streaming else [])])
        return TestPipeline(runner=engines[engine](), options=options)

    return make


def _data(name: str) -> Path:
    folder = Path(os.environ.get("BEAM_ON_RAILS_DATA") or ROOT.parent / "shared" / "data")
    path = folder / name
    if not path.is_file():
        pytest.fail(f"{name} is missing in {folder}: put it there, or name its folder in BEAM_ON_RAILS_DATA", False)
    return path


@pytest.fixture(scope="session")
def bank_csv() -> Path:
    """The real bank transactions (gzip CSV)."""
    return _data("bank-transactions.csv.gz")


@pytest.fixture(scope="session")
def ebay_csv() -> Path:
    """The real auction bids (CSV)."""
    return _data("ebay-bids.csv")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The command of a Chromium for headless pictures; `./run_local.sh test` installs one where it can."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.fail("no Chromium for the picture of the report: install one (Debian: apt-get install chromium)", False)
