"""The distribution and its locks: what setup.py asks for is locked, with hashes, and from no particular registry."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools

LOCKS = ("run", "dev")


@pytest.fixture(scope="module")
def declared() -> dict[str, object]:
    """What setup.py passes to setuptools."""
    root = Path(__file__).resolve().parent.parent
    got: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **kwargs: got.update(kwargs))
        source = (root / "setup.py").read_text(encoding="utf-8")
        exec(compile(source, "setup.py", "exec"), {"__file__": str(root / "setup.py"), "__name__": "setup"})
    return got


def name_of(requirement: str) -> str:
    return re.split(r"[=<>!~ ;\[]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def locked(root: Path, lock: str) -> dict[str, str]:
    text = (root / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", text, flags=re.MULTILINE))


def test_packages_are_the_ones_of_the_tree(declared: dict[str, object], root: Path) -> None:
    for package in declared["packages"]:
        assert (root / package.replace(".", "/")).is_dir(), package
    found = {
        path.parent.relative_to(root).as_posix().replace("/", ".")
        for top in ("pipelines", "transforms", "payments", "schemas")
        for path in (root / top).rglob("*.py")
    }
    assert found <= set(declared["packages"])


def test_every_schema_is_package_data(declared: dict[str, object], root: Path) -> None:
    data = declared["package_data"]
    for path in [*(root / "schemas").rglob("*.avsc"), root / "schemas" / "ids.json"]:
        package = path.parent.relative_to(root).as_posix().replace("/", ".")
        assert any(path.match(pattern) for pattern in data.get(package, [])), path


def test_core_dependencies(declared: dict[str, object]) -> None:
    assert declared["name"] == "beam-on-rails"
    assert declared["install_requires"] == ["apache-beam==2.77.0", "confluent-kafka==2.16.1", "fastavro==1.13.1"]
    assert "pytest" in [name_of(item) for item in declared["extras_require"]["test"]]


def test_locks_hold_what_is_declared(declared: dict[str, object], root: Path) -> None:
    run, dev = locked(root, "run"), locked(root, "dev")
    extras = declared["extras_require"]
    core = [*declared["install_requires"]]
    for requirement in core:
        name, version = requirement.split("==")
        assert run[name] == version
    for extra in ("views", "report", "progress", "sketches"):
        assert {name_of(item) for item in extras[extra]} <= run.keys(), extra
    for extra, requirements in extras.items():
        assert {name_of(item) for item in requirements} <= dev.keys(), extra
    assert "pytest" not in run
    assert run.items() <= dev.items(), "run_local.sh takes an environment with dev.txt for one with run.txt"


@pytest.mark.parametrize("lock", LOCKS)
def test_each_locked_requirement_has_hashes_and_no_address(lock: str, root: Path) -> None:
    text = (root / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host| @ |^/", text, flags=re.MULTILINE)
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(entries) == len(locked(root, lock)) > 20
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.split("\n", 1)[0]


def test_this_environment_is_the_locked_one(root: Path) -> None:
    freeze = subprocess.run([sys.executable, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True)
    found = {name_of(line): line.split("==")[1] for line in freeze.stdout.splitlines() if "==" in line}
    differing = {name: (found[name], version) for name, version in locked(root, "dev").items() if name in found}
    assert {name: pair for name, pair in differing.items() if pair[0] != pair[1]} == {}
