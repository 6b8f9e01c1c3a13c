"""What the tests of whole runs share: an encoder made in a moment, and the command line in and out of this process."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hashae.encoder import METADATA_KEY, Encoder, EncoderInfo
from hashae.images.canonical import CanonicalForm

Result = namedtuple("Result", "status out err")


def project(weights, source, target):
    """Return an ONNX model that multiplies flattened input ``(n, ...)`` by `weights`."""
    shape = source[1]
    nodes = [
        helper.make_node("Flatten", [source[0]], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], [target[0] if len(target[1]) == 1 else "product"]),
    ]
    tensors = [numpy_helper.from_array(weights.astype(np.float32), "weights")]
    if len(target[1]) > 1:
        nodes.append(helper.make_node("Reshape", ["product", "shape"], [target[0]]))
        tensors.append(numpy_helper.from_array(np.array([-1, *target[1]]), "shape"))
    graph = helper.make_graph(
        nodes,
        "projection",
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(target[0], TensorProto.FLOAT, ["n", *target[1]])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def build_encoder(seed=0, *, bits=64, size=16, radius=3, tail=None, name="tiny", decoder=True):
    """Return an encoder of random smooth projections: untrained, and good enough to tell drawn pictures apart."""
    form = CanonicalForm.preset("photo", size)
    weights = np.random.default_rng(seed).normal(size=(bits, size, size))
    for axis in (1, 2):  # a moving average: noise in single pixels hardly matters
        weights = weights + np.roll(weights, 1, axis) + np.roll(weights, -1, axis)
    weights -= weights.mean(axis=(1, 2), keepdims=True)
    flat = weights.reshape(bits, -1)
    model = project(flat.T, ("images", form.shape), ("logits", (bits,)))
    info = EncoderInfo(name=name, bits=bits, form=form, radius=radius, key_radius=radius, tail=tail)
    helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    back = project(flat / np.abs(flat).sum(), ("codes", (bits,)), ("images", form.shape)) if decoder else None
    data = model.SerializeToString(deterministic=True)
    return Encoder(data, back and back.SerializeToString(deterministic=True), threads=1)


@pytest.fixture(scope="session")
def make_encoder():
    """Return the function that makes encoders: settings as those of ``build_encoder``."""
    return build_encoder


@pytest.fixture(scope="session")
def encoder():
    return build_encoder()


@pytest.fixture(scope="session")
def encoder_file(encoder, tmp_path_factory) -> Path:
    """Return the file of `encoder`; shared, so never change it."""
    path = tmp_path_factory.mktemp("encoder") / "tiny.onnx"
    encoder.save(path)
    return path


@pytest.fixture(scope="session")
def fill(draw):
    """Return a function that draws pictures `numbers` into a folder as ``0.png``, ``1.png`` ..., and returns it."""

    def fill_folder(folder, numbers=range(6)):
        folder.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            draw(number).save(folder / f"{number}.png")
        return folder

    return fill_folder


@pytest.fixture(scope="session")
def fingerprint():
    """Return a function that hashes names, contents and times of everything in a folder."""

    def of_folder(folder):
        digest = hashlib.sha256()
        for path in sorted(Path(folder).rglob("*"), key=os.fsencode):
            digest.update(os.fsencode(path) + b"\0" + str(path.lstat().st_mtime_ns).encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()

    return of_folder


@pytest.fixture
def environment(tmp_path):
    """Return the environment of a child process: no collection named in it, a data folder of the test's own."""
    values = {name: value for name, value in os.environ.items() if name not in {"HASHAE_DB", "XDG_DATA_HOME"}}
    return values | {
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUTF8": "1",
        "COLUMNS": "200",
    }


@pytest.fixture
def cli(monkeypatch, capsys, environment):
    """Return a function that runs ``hashae`` in this process and returns (status, out, err)."""
    from hashae.cli.main import main

    for name in ("HASHAE_DB", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", environment["XDG_DATA_HOME"])
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hashae", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return Result(stopped.value.code, out, err)

    return run


@pytest.fixture
def spawn(tmp_path, environment):
    """Return a function that starts ``hashae`` in a process of its own.

    ``before`` is Python that runs first, ``wrapper`` a command that runs Python; other settings go to ``Popen``.
    """
    started = []

    def start(*arguments, before="", wrapper=(), env=None, **settings):
        code = f"import sys\n{before}\nfrom hashae.cli.main import run\nrun()"
        child = subprocess.Popen(
            [*wrapper, sys.executable, "-c", code, *map(os.fspath, map(_plain, arguments))],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, **settings},
            env=environment | (env or {}),
        )
        started.append(child)
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def _plain(argument):
    return argument if isinstance(argument, (str, os.PathLike)) else str(argument)


@pytest.fixture
def hashae(spawn):
    """Return a function that runs ``hashae`` in a process of its own to its end: (status, out, err)."""

    def run(*arguments, encoding="utf-8", **settings):
        child = spawn(*arguments, **settings)
        out, err = child.communicate(timeout=120)
        return Result(child.returncode, *(text.decode(encoding, "replace") for text in (out or b"", err or b"")))

    return run


@pytest.fixture(scope="session")
def no_privileges():
    """Return a command that takes root's right to ignore permission bits away; empty for ordinary users."""
    if os.geteuid():
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root ignores permission bits, and setpriv is not installed")
    return ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@pytest.fixture(scope="session")
def sound():
    """Return a function that checks a collection file as SQLite does, in a copy, and returns path -> code of it."""

    def check(path, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for part in (path, Path(f"{path}-wal")):
            if part.exists():
                shutil.copy(part, folder / part.name)
        connection = sqlite3.connect(folder / path.name)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            query = "SELECT images.path, code FROM images LEFT JOIN codes ON images.id = image WHERE NOT missing"
            return dict(connection.execute(query))
        finally:
            connection.close()

    return check
