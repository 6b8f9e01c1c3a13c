"""The files for containers and systemd: they name what exists, and their commands run outside as they would inside."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from hashae.cli.main import cli as group
from hashae.serve.workers import LEAVING_SECONDS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def instructions():
    """The instructions of the container file: (name, argument), continued lines joined."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_the_container_file_copies_what_there_is_and_installs_known_extras():
    found = instructions()
    assert {name for name, _ in found} <= {
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "EXPOSE",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    for name, argument in found:
        if name == "COPY" and not argument.startswith("--from"):
            for source in argument.split()[:-1]:
                assert (ROOT / source).exists(), source
    installs = next(argument for name, argument in found if name == "RUN" and "pip install" in argument)
    extras = re.search(r"'\.\[(.+)\]'", installs)[1].split(",")
    declared = re.search(
        r"\[project\.optional-dependencies\](.+?)\n\[", (ROOT / "pyproject.toml").read_text(), re.DOTALL
    )[1]
    assert all(f"\n{extra} = " in declared for extra in extras)
    user = [number for number, (name, _) in enumerate(found) if name == "USER"]
    assert user, "it does not run as root"
    assert user[-1] < next(number for number, (name, _) in enumerate(found) if name == "ENTRYPOINT")
    packages = re.search(r"packages = \[(.+?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[1]
    assert "hashae" in packages


@pytest.mark.parametrize("file", ["Containerfile", "compose.yaml", "hashae@.service"])
def test_commands_have_only_options_that_exist(file):
    text = (DEPLOY / file).read_text()
    lines = re.findall(r"""^(?!#).*(?:hashae serve|"serve").*$""", text, re.MULTILINE)
    words = re.findall(r"(?<![\w-])--[a-z-]+", "\n".join(lines))
    shown = CliRunner().invoke(group, ["serve", "--help"]).output
    assert all(word in shown for word in words), words


def test_the_compose_file_holds_together():
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = compose["services"]
    assert set(services) == {"postgres", "serve", "index"}
    for name in ("serve", "index"):
        service = services[name]
        assert (
            DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]
        ).resolve() == DEPLOY / "Containerfile"
        assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        url = service["environment"]["HASHAE_DB"]
        assert url.startswith("postgresql+psycopg://hashae:${POSTGRES_PASSWORD")
        assert url.endswith(f"@postgres/{services['postgres']['environment']['POSTGRES_DB']}")
        named = {volume.split(":")[0] for volume in service["volumes"] if not volume.startswith(("$", "/"))}
        assert named <= set(compose["volumes"])
    assert services["serve"]["ports"] == ["127.0.0.1:8765:8765"], "not to be reached from other machines by itself"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path):
    unit = tmp_path / "hashae@8765.service"
    text = (DEPLOY / "hashae@.service").read_text()
    unit.write_text(text.replace("/opt/hashae/bin/hashae", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "hashae@8765" not in done.stderr, done.stderr
    assert done.returncode == 0


def test_the_commands_of_the_container_run_outside_over_a_server(
    spawn, hashae, server_url, fill, tmp_path, encoder_file
):
    found = dict(instructions())
    environment = {"HASHAE_DB": server_url, "HASHAE_TOKEN": "0123456789abcdef"}
    folder = fill(tmp_path / "pictures", range(3))
    assert hashae("index", folder, "--encoder", encoder_file, env=environment).status == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [word.replace("8765", port) for word in json.loads(found["CMD"])]
    server = spawn(*command, env=environment)
    probe = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    assert probe[0] == "python"
    probe = [sys.executable, probe[1], probe[2].replace("8765", port)]
    until = time.monotonic() + 100
    while True:
        done = subprocess.run(probe, capture_output=True, env=environment, check=False, timeout=20)
        if done.returncode == 0 or time.monotonic() > until or server.poll() is not None:
            break
        time.sleep(0.2)
    if server.poll() is not None or done.returncode:
        server.kill()
        pytest.fail(f"{done.stderr.decode()}\n{server.communicate()[1].decode()}")
    server.kill()
    server.communicate()
    assert subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode != 0


def test_unit_and_compose_file_start_several_workers_and_the_unit_reloads_them():
    text = (DEPLOY / "hashae@.service").read_text()
    started = shlex.split(re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)[1])[1:]
    assert started == ["serve", "--host", "127.0.0.1", "--port", "%i", "--token", "--workers", "2"]
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in text
    patience = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1])
    assert patience > LEAVING_SECONDS, "answers that are under way are not cut off"
    compose = (DEPLOY / "compose.yaml").read_text()
    command = json.loads(re.search(r'^    command: (\["serve".*\])$', compose, re.MULTILINE)[1])
    assert command == [*json.loads(dict(instructions())["CMD"]), "--workers", "2"]
    assert f"stop_grace_period: {patience}s" in compose
