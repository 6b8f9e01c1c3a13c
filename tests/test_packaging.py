"""What is installed is what is here: packages, their data, names, versions, pinned dependencies."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import tomllib

import hashae

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {"hashae": "hashae"} | {folder: package for package, folder in SETUPTOOLS["package-dir"].items()}


def package_of(folder, path):
    return ".".join((FOLDERS[folder], *path.parent.relative_to(ROOT / folder).parts))


def files():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield folder, path


def test_every_package_is_listed():
    found = {package_of(folder, path) for folder, path in files() if path.name == "__init__.py"}
    assert found == set(SETUPTOOLS["packages"])


def test_every_module_is_in_a_package():
    homeless = [path for folder, path in files() if package_of(folder, path) not in SETUPTOOLS["packages"]]
    assert not homeless


def test_every_data_file_is_packed():
    patterns = SETUPTOOLS["package-data"]
    left_out = [
        path
        for folder, path in files()
        if path.suffix != ".py"
        and not any(fnmatch(path.name, pattern) for pattern in patterns.get(package_of(folder, path), ()))
    ]
    assert not left_out


def test_the_version_is_said_once_more_and_the_same():
    assert hashae.__version__ == PROJECT["project"]["version"]
    assert f"## [{hashae.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_extras_of_the_documentation_exist():
    extras = {"train", "serve", "heif", "raw", "watch", "gpu", "fast", "postgres", "ray", "s3", "gcs", "dev"}
    assert set(PROJECT["project"]["optional-dependencies"]) == extras


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_constraints_pin_what_is_asked_for():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    extras = PROJECT["project"]["optional-dependencies"]
    asked = {
        normal(re.match(r"[\w.-]+", requirement)[0])
        for requirement in [*PROJECT["project"]["dependencies"], *extras["train"], *extras["serve"], *extras["dev"]]
    } - {"hashae"}
    assert asked <= {normal(name) for name in pins}
    # A build such as +cpu would keep everybody from installing another one.
    assert not [version for version in pins.values() if "+" in version]


def test_torch_is_pinned_to_one_version_everywhere():
    pin = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)[1]
    assert re.findall(r"torch==(\S+)", (ROOT / "Makefile").read_text("utf-8")) == [pin]


@pytest.mark.parametrize("name", ["db", "cli", "indexer"])
def test_folder_names_are_no_modules_elsewhere(name, tmp_path):
    program = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize("name", SETUPTOOLS["packages"])
def test_packages_come_from_this_checkout(name, tmp_path):
    program = f"import importlib.util; print(importlib.util.find_spec({name!r}).origin)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60
    )
    folder = next(folder for folder, package in reversed(FOLDERS.items()) if f"{name}.".startswith(f"{package}."))
    inside = Path(*name.removeprefix(FOLDERS[folder]).split("."))
    assert Path(done.stdout.strip()) == ROOT / folder / inside / "__init__.py"


def test_the_licence_is_the_whole_text():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
