"""The distribution: `pip install .` gives the packages, extras add what only some commands need."""

from pathlib import Path

from setuptools import setup

EXTRAS = {
    "views": ["duckdb"],
    "report": ["vl-convert-python"],
    "progress": ["tqdm"],
    "sketches": ["ddsketch"],
    "test": ["pytest", "pytest-cov", "pytest-xdist", "hypothesis"],
    "lint": ["ruff", "mypy"],
    "mutation": ["mutmut"],
}

setup(
    name="beam-on-rails",
    version="0.1.0",
    description="Event-driven payments on Apache Beam: a fold over the log, with a toolkit of transforms",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    if (Path(__file__).parent / "README.md").exists()
    else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=["pipelines", "transforms", "payments", "schemas", "schemas.rails", "schemas.payments"],
    package_data={"schemas": ["ids.json"], "schemas.rails": ["*.avsc"], "schemas.payments": ["*.avsc"]},
    install_requires=["apache-beam==2.77.0", "confluent-kafka==2.16.1", "fastavro==1.13.1"],
    extras_require=EXTRAS,
)
