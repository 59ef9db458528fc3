"""The distribution: `pip install .` gives the packages, extras add what only some commands need.

The hash-locked files under `requirements/` are compiled from this file by `./run_local.sh lock`.
"""

from pathlib import Path

from setuptools import Extension, setup

try:
    from Cython.Build import cythonize
except ImportError:  # the engine runs in Python too, at half the speed
    cythonize = None

HERE = Path(__file__).parent
README = HERE / "README.md"

SOURCES = ("avro_native.pyx", "murmur2_native.pyx", "fold.py", "loop.py")  # as in transforms/native.py


def extensions() -> list[Extension]:
    """The modules that are compiled; annotations are for mypy and readers, types for C stand in the .pxd files."""
    if cythonize is None:
        return []
    return cythonize(
        [Extension(f"transforms.{Path(source).stem}", [f"transforms/{source}"], optional=True) for source in SOURCES],
        compiler_directives={"language_level": 3, "annotation_typing": False},
        build_dir="build/cython",
        force=True,
        quiet=True,
    )


EXTRAS = {
    "native": ["cython>=3.1", "setuptools>=77"],
    "views": ["duckdb>=1.4"],
    "postgres": ["psycopg[binary]>=3.2"],
    "registry": ["confluent-kafka[schemaregistry]==2.16.1"],
    "report": ["vl-convert-python>=1.9"],
    "progress": ["tqdm>=4.67"],
    "sketches": ["ddsketch>=3.0"],
    "geo": ["h3>=4.2"],
    "test": ["pytest>=9", "pytest-cov>=7", "pytest-xdist>=3.8", "hypothesis>=6.140", "aiosmtpd>=1.4.6"],
    "lint": ["ruff>=0.14", "mypy>=1.18"],
    "mutation": ["mutmut>=3.3"],
    "lock": ["uv>=0.9"],
}

setup(
    name="beam-on-rails",
    version="0.1.0",
    description="Event-driven payments on Apache Beam: a fold over the log, and a toolkit of transforms",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        *(
            "pipelines",
            "transforms",
            "payments",
            "auctions",
            "schemas",
            "schemas.rails",
            "schemas.payments",
            "schemas.auctions",
            "report",
            "stack",
            "chaos",
        ),
    ],
    package_data={
        "pipelines": ["mappings/*.json"],
        "auctions": ["mappings/*.json"],
        "report": ["assets/*"],
        "schemas": ["ids.json"],
        "stack": ["*_dist/pom.xml", "flink_dist/src/**/*.java"],
        "schemas.rails": ["*.avsc"],
        "schemas.payments": ["*.avsc"],
        "schemas.auctions": ["*.avsc"],
    },
    ext_modules=extensions(),
    install_requires=["apache-beam==2.77.0", "confluent-kafka==2.16.1", "fastavro==1.13.1"],
    extras_require=EXTRAS,
)
