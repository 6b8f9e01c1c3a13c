"""Options that commands share: lengths of time, the number of workers, the place of the collection."""

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hashae.cli.main import COMMANDS, cli
from hashae.cli.options import Duration, collection_path, db_option, default_workers


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("2m", 120), ("1.5h", 5400), ("0.5 s", 0.5), (" 3m ", 180), (7, 7), (0.25, 0.25)],
)
def test_a_length_of_time_is_a_number_and_a_unit(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-3m", "2d", "m", "two minutes", "1e3", "nan", "inf", "9" * 400])
def test_anything_else_is_refused_with_examples(text):
    with pytest.raises(click.BadParameter) as refused:
        Duration().convert(text, None, None)
    assert refused.value.message == f"{text!r} is no length of time; expected for example 90s, 2m or 1h"


def test_there_are_as_many_workers_as_cores_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 3, 5}, raising=False)
    assert default_workers() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_workers() == 1


def test_the_collection_lies_in_the_data_folder_unless_a_file_is_given(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert collection_path(Path("x.db")) == Path("x.db")
    assert not (tmp_path / "data").exists()
    path = collection_path(None)
    assert path.name == "collection.db"
    assert path.parent.is_dir()


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname != "Linux", reason="XDG folders are those of Linux")
def test_on_linux_the_data_folder_is_that_of_the_desktop_rules(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert collection_path(None) == tmp_path / "data" / "hashae" / "collection.db"


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--db", "option.db"], {"HASHAE_DB": "variable.db"}, "option.db"),
        ([], {"HASHAE_DB": "variable.db"}, "variable.db"),
        ([], {"HASHAE_DB": ""}, "None"),
        ([], {}, "None"),
    ],
)
def test_the_option_comes_before_the_environment(monkeypatch, arguments, environment, expected):
    @click.command()
    @db_option
    def show(db):
        click.echo(str(db))

    monkeypatch.delenv("HASHAE_DB", raising=False)
    assert CliRunner().invoke(show, arguments, env=environment).output == f"{expected}\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_help_of_every_command_has_an_example_of_its_own(name):
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0
    assert "Examples:" in shown.output
    assert f"  hashae {name}" in shown.output


def test_the_help_of_the_group_has_examples_and_lists_every_command():
    shown = CliRunner().invoke(cli, ["-h"])
    assert "Examples:" in shown.output
    listed = shown.output.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == sorted(COMMANDS)


# These work on a folder, a model or a saved report, not on a collection; copy works on two; serve and watch do not end
# in an answer; and verdict has its options at its subcommands.
OTHERS = {"train", "compare", "copy", "leaks", "probe", "report", "restore", "serve", "show", "verdict", "watch"}


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - OTHERS))
def test_every_command_on_a_collection_takes_the_same_options(name):
    shown = CliRunner().invoke(cli, [name, "--help"]).output
    assert "--db FILE" in shown
    assert "HASHAE_DB" in shown
    assert "--json" in shown


def test_an_unknown_command_is_a_usage_error():
    shown = CliRunner().invoke(cli, ["delete"])
    assert shown.exit_code == 2
    assert "No such command 'delete'" in shown.output


def test_the_version_is_shown():
    shown = CliRunner().invoke(cli, ["--version"])
    assert (shown.exit_code, shown.output.split()[0]) == (0, "hashae,")
