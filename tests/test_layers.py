"""Imports point downwards: which part of the house may know which other, and which heavy library lives where."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hashae

ROOT = Path(__file__).parents[1]
FOLDERS = {"hashae": "hashae", "indexer": "hashae.indexer", "db": "hashae.db", "cli": "hashae.cli"}

UPPER = ("hashae.indexer", "hashae.db", "hashae.serve", "hashae.cli")
MEETING_ROOMS = (
    "hashae.indexer.answer_query",
    "hashae.indexer.calibrate",
    "hashae.indexer.calibrator",
    "hashae.indexer.cluster.blocks",
    "hashae.indexer.cluster.reading",
    "hashae.indexer.collection",
    "hashae.indexer.ingest",
    "hashae.indexer.own_encoder",
    "hashae.indexer.parts",
    "hashae.indexer.pixels",
    "hashae.indexer.remote",
    "hashae.indexer.served",
)
"""The modules of the indexer in which pictures or encoder meet codes; all others see codes only."""

TRUST = ("hashae.calibration", "hashae.health", "hashae.precision", "hashae.promise", "hashae.strangers")
"""How near two codes must be, and how good they are: numpy and codes only."""

ALLOWED = {
    "hashae.cli": ("hashae",),
    "hashae.serve": (
        "hashae.serve",
        "hashae.indexer",
        "hashae.images",
        "hashae.encoder",
        "hashae.pretrained",
        "hashae.codes",
        *TRUST,
        "hashae.place",
        "hashae.errors",
    ),
    "hashae.client": ("hashae.errors",),
    "hashae.indexer": (
        "hashae.indexer",
        "hashae.db",
        "hashae.codes",
        *TRUST,
        "hashae.object_store",
        "hashae.place",
        "hashae.errors",
    ),
    "hashae.db": ("hashae.db", "hashae.codes", "hashae.place", "hashae.errors"),
    "hashae.images": ("hashae.images", "hashae.codes", "hashae.object_store", "hashae.errors"),
    "hashae.object_store": ("hashae.errors",),
    "hashae.session": ("hashae.session", "hashae.errors"),
    "hashae.encoder": (
        "hashae.encoder",
        "hashae.session",
        "hashae.images",
        "hashae.calibration",
        "hashae.codes",
        "hashae.errors",
    ),
    "hashae.evaluation": ("hashae.evaluation", "hashae.encoder", "hashae.images", "hashae.codes", "hashae.errors"),
    "hashae.pretrained": ("hashae.pretrained", "hashae.encoder", "hashae.reference", "hashae.errors"),
    "hashae.reference": ("hashae.encoder", "hashae.images", "hashae.codes", *TRUST, "hashae.errors"),
    "hashae.calibration": ("hashae.codes", "hashae.errors"),
    "hashae.health": ("hashae.calibration", "hashae.codes"),
    "hashae.precision": ("hashae.codes", *TRUST, "hashae.errors"),
    "hashae.promise": ("hashae.errors",),
    "hashae.strangers": ("hashae.codes", "hashae.calibration", "hashae.errors"),
    "hashae.config": ("hashae.config", "hashae.images", "hashae.codes", "hashae.errors"),
    "hashae.codes": ("hashae.errors",),
    "hashae.place": ("hashae.errors",),
    "hashae.errors": (),
}
"""Part -> what of hashae it may import. Parts that are not named may import all but the upper layers."""

HOMES = {
    "torch": ("hashae.models", "hashae.training"),
    "onnx": ("hashae.models", "hashae.training"),
    "onnxscript": ("hashae.models", "hashae.training"),
    "faiss": ("hashae.indexer", "hashae.evaluation"),
    "click": ("hashae.cli",),
    "fastapi": ("hashae.serve",),
    "starlette": ("hashae.serve",),
    "uvicorn": ("hashae.serve",),
    "sqlalchemy": ("hashae.db", "hashae.indexer"),
    "ray": ("hashae.indexer.cluster",),
    "alembic": ("hashae.db",),
    "psycopg": ("hashae.db",),
    "fsspec": ("hashae.object_store",),
    "s3fs": (),
}
"""Library -> the only parts that may import it."""

LATE = (
    *("fastapi", "torch", "faiss", "onnxruntime", "sqlalchemy", "psycopg", "onnx", "sklearn", "matplotlib", "ray"),
    "fsspec",
)
"""What `hashae --help` must not load: each takes longer to import than the help may take."""


def modules():
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__"), path


def is_within(name, part):
    return name == part or name.startswith(part + ".")


def imported_names(path):
    """Yield the full name of every import, wherever it stands, also under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            if node.module == "hashae":
                # `from hashae import Encoder` reaches into hashae.encoder; `__version__` reaches nowhere.
                names = (alias.name for alias in node.names if alias.name != "__version__")
                yield from (hashae._HOMES.get(name, f"hashae.{name}") for name in names)
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def may_import(module, name):
    if name == "hashae":
        return True
    if module in MEETING_ROOMS and is_within(name, "hashae"):
        lower = ("hashae.images", "hashae.encoder", "hashae.pretrained", *ALLOWED["hashae.indexer"])
        return any(is_within(name, part) for part in lower)
    for part, allowed in ALLOWED.items():
        if is_within(module, part):
            return any(is_within(name, target) for target in allowed)
    return not any(is_within(name, part) for part in UPPER)


@pytest.mark.parametrize(("module", "path"), [pytest.param(*found, id=found[0]) for found in modules()])
def test_imports_point_downwards(module, path):
    names = set(imported_names(path))
    wrong = [name for name in names if is_within(name, "hashae") and not may_import(module, name)]
    assert not wrong, f"{module} may not import {sorted(wrong)}"


@pytest.mark.parametrize(("module", "path"), [pytest.param(*found, id=found[0]) for found in modules()])
def test_heavy_libraries_stay_at_home(module, path):
    for name in imported_names(path):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or any(is_within(module, home) for home in homes), f"{module} may not import {name}"


@pytest.mark.parametrize(
    ("module", "name", "allowed"),
    [
        ("hashae.db.schema", "hashae.codes.pack", True),
        ("hashae.db.schema", "hashae.indexer", False),
        ("hashae.indexer.pairs", "hashae.images.decode", False),
        ("hashae.indexer.collection", "hashae.images.decode", True),
        ("hashae.indexer.collection", "hashae.training.train", False),
        ("hashae.indexer.collection", "hashae.cli", False),
        ("hashae.training.loop", "hashae.models.base", True),
        ("hashae.training.loop", "hashae.db.schema", False),
        ("hashae.encoder", "hashae.training.export", False),
        ("hashae.cli.dedup", "hashae.training", True),
        ("hashae.serve.api", "hashae.indexer.served", True),
        ("hashae.serve.api", "hashae.db.schema", False),
        ("hashae.serve.api", "hashae.models", False),
        ("hashae.evaluation.ranking", "hashae.codes.pack", True),
        ("hashae.evaluation.ranking", "hashae.training.train", False),
    ],
)
def test_the_rule_itself(module, name, allowed):
    assert may_import(module, name) == allowed


def loaded_by(program):
    listing = f"{program}\nimport sys; print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done, {name.split(".")[0] for name in done.stderr.split()}


def test_help_loads_nothing_heavy(tmp_path):
    program = """
import sys
from hashae.cli.main import main
sys.argv = ["hashae", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    done, loaded = loaded_by(program)
    assert "dedup" in done.stdout
    assert not loaded & set(LATE)


@pytest.mark.parametrize(
    "module", ["hashae", "hashae.codes", "hashae.errors", "hashae.images", "hashae.db", "hashae.evaluation"]
)
def test_importing_the_lower_parts_loads_no_torch(module):
    _, loaded = loaded_by(f"import {module}")
    assert not loaded & {"torch", "onnx", "sklearn", "matplotlib"}
