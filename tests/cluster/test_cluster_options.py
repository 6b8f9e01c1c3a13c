"""``--ray`` at the command line, and what is said without Ray or without a cluster."""

from __future__ import annotations

import json
import signal
import socket
import sys
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from hashae.cli.main import cli
from hashae.errors import ConfigError, HashaeError, MissingDependency
from hashae.indexer.cluster import Cluster, head


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_without_ray_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency) as refused:
        Cluster()
    assert str(refused.value) == (
        "work on a Ray cluster needs libraries that are not installed; run: pip install 'hashae[ray]'"
    )


def test_a_folder_is_no_address(tmp_path):
    done = run("dedup", "--ray", tmp_path)
    assert done.exit_code == 2
    assert f"{tmp_path} is a folder; write --ray=local {tmp_path}, or --ray=HOST:PORT" in done.stderr.replace("\n", " ")


def test_across_folders_it_is_refused(tmp_path):
    done = run("dedup", tmp_path, "--against", tmp_path, "--ray")
    assert done.exit_code == 2
    assert "it takes no" in done.stderr


def test_a_client_address_is_refused(monkeypatch):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(ConfigError, match="run hashae on a node of the cluster, with --ray=auto"):
        Cluster("ray://somewhere:10001")


def test_no_cluster_at_an_address_is_one_sentence(monkeypatch):
    import ray

    def waits_for_more_than_a_minute(**_settings):
        raise AssertionError("not to be asked")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", waits_for_more_than_a_minute)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(
        ConfigError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 \(.*refused\); expected auto or HOST"
    ):
        Cluster("127.0.0.1:1")
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at nowhere\.invalid:6379 \(.+\); expected auto or"):
        Cluster("nowhere.invalid:6379")
    for wrong in ("head", "head:", ":6379", "head:0", "head:99999", "head:one"):
        with pytest.raises(ConfigError, match=f"'{wrong}' is no address of a Ray cluster; expected auto or HOST:PORT"):
            Cluster(wrong)


def test_the_cluster_of_this_machine_may_be_none_or_gone(monkeypatch, tmp_path):
    import ray
    from ray._private import services

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(services, "find_gcs_addresses", frozenset)
    monkeypatch.setattr(services, "find_bootstrap_address", lambda *_: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at auto \(Could not find any running Ray instance"):
        Cluster("auto")
    monkeypatch.setattr(services, "find_bootstrap_address", lambda *_: "127.0.0.1:1")  # left behind by one that died
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at auto, [0-9.]+:1 \(.*refused"):
        Cluster("auto")
    monkeypatch.setenv("RAY_ADDRESS", "ray://somewhere:10001")
    with pytest.raises(ConfigError, match=r"run hashae on a node of the cluster, with --ray=auto"):
        Cluster("auto")


@pytest.mark.parametrize("answer", [b"", b"-ERR unknown command", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_another_program_at_an_address_is_no_cluster(monkeypatch, answer):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        at = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"no Ray cluster answers at {at} \(another program listens there\)"):
            Cluster(at)
        thread.join()


def test_a_local_start_that_takes_too_long_is_tried_again(monkeypatch):
    import ray

    tried = []

    def late(**settings):
        tried.append(settings["address"])
        raise Exception("timed out during startup")  # noqa: TRY002 - as Ray does

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", late)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at local \(timed out during startup\)"):
        Cluster()
    assert tried == ["local"] * 3


def test_a_head_that_is_gone_ends_the_work_with_a_sentence(monkeypatch):
    import ray

    monkeypatch.setattr(head, "EVERY", 0.02)
    monkeypatch.setattr(head, "PATIENCE", 0.2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            context = SimpleNamespace(gcs_address=f"127.0.0.1:{server.getsockname()[1]}")
            for name, answer in {
                "is_initialized": False,
                "init": None,
                "shutdown": None,
                "cluster_resources": {},
                "nodes": [{"Alive": True}],
                "get_runtime_context": context,
            }.items():
                monkeypatch.setattr(ray, name, lambda *_, _answer=answer, **__: _answer)
            with Cluster():
                Event().wait(0.5)  # it answers

            def lose_it():
                server.close()
                Event().wait(60)

            with pytest.raises(HashaeError, match="head of the Ray cluster at local does not answer any"), Cluster():
                lose_it()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("cluster")
def test_dedup_on_a_cluster_prints_the_report_of_one_process(picture_folder, tmp_path):
    (picture_folder / "copy.png").write_bytes(next(picture_folder.rglob("*.png")).read_bytes())
    one = run("dedup", picture_folder, "--db", tmp_path / "one.db", "--json", "--no-calibrate")
    assert one.exit_code == 0, one.output
    two = run("dedup", "--ray", "--db", tmp_path / "one.db", "--json", "--no-calibrate")
    assert two.exit_code == 0, two.output
    first, second = json.loads(one.stdout), json.loads(two.stdout)
    assert first["groups"] == second["groups"]
    assert len(first["groups"]) == 1
    told = run("dedup", "--ray", "--db", tmp_path / "one.db", "--no-calibrate")
    assert "Ray cluster at local: 2 cores" in told.stderr
    assert "hint: 37 codes; below 10,000,000 one process is faster" in told.stderr
