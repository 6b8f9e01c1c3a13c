"""What all tests share: an installed package, a seeded generator, a folder of small pictures, few threads."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys

# Both have to be set before numpy or torch start their thread pools. Two threads are as fast for inputs of this size,
# and a test run does not push the neighbours aside. One each where pytest-xdist runs tests side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every process they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    import hashae.cli  # noqa: F401  a mapped folder: importable only once the package is installed
except ModuleNotFoundError:
    pytest.exit("hashae is not installed; run: pip install -e .", returncode=4)

THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
PICTURES = 36
PICTURE_SIZE = (96, 72)


@pytest.fixture(autouse=True)
def few_torch_threads():
    """Hold torch to its share of threads in tests that load it, and load it in no other."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() > THREADS:
        torch.set_num_threads(THREADS)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def draw_picture(seed: int) -> Image.Image:
    """Draw a small picture of its own: a gradient of two colours under four shapes, all of them from `seed`."""
    rng = np.random.default_rng(seed)
    width, height = PICTURE_SIZE
    rows, columns = np.mgrid[0:height, 0:width]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * columns / width + np.sin(angle) * rows / height
    ramp = ((ramp - ramp.min()) / np.ptp(ramp))[:, :, None]
    dark, light = rng.integers(0, 110, 3), rng.integers(140, 256, 3)
    picture = Image.fromarray((dark + (light - dark) * ramp).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for shape in rng.permutation(4):
        left, top = int(rng.integers(0, width - 20)), int(rng.integers(0, height - 16))
        box = (left, top, left + int(rng.integers(16, 44)), top + int(rng.integers(12, 36)))
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        if shape == 0:
            pen.ellipse(box, fill=colour)
        elif shape == 1:
            pen.rectangle(box, fill=colour)
        elif shape == 2:
            pen.polygon([(box[0], box[3]), (box[2], box[3]), ((box[0] + box[2]) // 2, box[1])], fill=colour)
        else:
            pen.line(box, fill=colour, width=5)
    return picture


@pytest.fixture(scope="session")
def draw():
    """Return the function that draws a picture from its number."""
    return draw_picture


@pytest.fixture(scope="session")
def picture_store(tmp_path_factory) -> Path:
    """Three dozen pictures of the session, no two alike; shared, so never write into it: take `picture_folder`."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        target = folder / ("drawn" if number % 2 else "drawn/more") / f"picture {number:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(number).save(target)
    return folder


@pytest.fixture
def picture_folder(picture_store, tmp_path) -> Path:
    """Return a folder of 36 small distinct PNG pictures in two levels, the test's own to change."""
    folder = tmp_path / "pictures"
    for source in sorted(picture_store.rglob("*.png")):
        target = folder / source.relative_to(picture_store)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    return folder


@pytest.fixture
def picture() -> Image.Image:
    """Return one small RGB picture."""
    return draw_picture(1000)


@pytest.fixture(scope="session")
def postgres_server():
    """The module that starts PostgreSQL servers."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'hashae[postgres]'")
    spec = spec_from_file_location("postgres_server", Path(__file__).parents[1] / "benchmarks" / "postgres_server.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def postgres(postgres_server):
    """A PostgreSQL server of the session's own, with one database that holds the tables of a collection: `template`."""
    from hashae.db import open_database

    try:
        with postgres_server.server("fsync=off", "full_page_writes=off") as server:
            server.execute("CREATE DATABASE empty_collection TEMPLATE template0")
            open_database(server.url("empty_collection")).close()
            yield server
    except postgres_server.NoServer as error:
        pytest.skip(str(error))


@pytest.fixture
def server_url(postgres, monkeypatch, tmp_path):
    """Return the URL of an empty collection on the server; what belongs to it lies in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = postgres.database("empty_collection")
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Return where to make a collection: a file, then a database of a server; whatever is asked of both is the same."""
    if request.param == "sqlite":
        return tmp_path / "photos.db"
    return request.getfixturevalue("server_url")


@pytest.fixture(scope="session")
def aws_config(tmp_path_factory):
    """A configuration of the session's own: no test finds an account, or an endpoint, of the person who runs it."""
    path = tmp_path_factory.mktemp("aws") / "config"
    path.touch()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", str(path))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield path


@pytest.fixture(scope="session")
def s3(aws_config):
    """A client of an S3 server of the session's own, on this machine."""
    server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'hashae[dev]'")
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    settings = {"endpoint_url": f"http://{host}:{port}", "region": "us-east-1"}
    settings |= {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    aws_config.write_text("\n".join(["[default]", *(f"{name} = {value}" for name, value in settings.items())]))
    yield boto3.Session().client("s3")
    running.stop()


@pytest.fixture
def bucket(s3, request):
    """Return the name of a bucket of the test's own."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def upload(s3, bucket):
    """Return a function that puts a folder of this machine into the bucket."""

    def put(folder, below=""):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                s3.put_object(Bucket=bucket, Key=f"{below}{path.relative_to(folder)}", Body=path.read_bytes())

    return put
