"""What the documentation says is so: docstring examples, commands of the README, targets of the Makefile."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"hashae": "hashae", "indexer": "hashae.indexer", "db": "hashae.db", "cli": "hashae.cli"}
PAGES = ("README.md", "CONTRIBUTING.md")

# Run by Alembic inside a migration, and nowhere else importable.
NOT_IMPORTABLE = {"hashae.db.migrations.env"}


def modules():
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            if parts[-1] != "__main__" and name not in NOT_IMPORTABLE:
                yield name


@pytest.mark.parametrize("name", list(modules()))
def test_docstring_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_nothing_was_imported_by_folder_name():
    assert not {"db", "cli", "indexer"} & set(sys.modules)


def page(name):
    path = ROOT / name
    assert path.is_file(), f"{name} is missing; the documentation is part of the project"
    return path.read_text("utf-8")


def blocks(text, *languages):
    """Return the fenced blocks in one of the languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in found if language in languages]


def command_lines(text):
    """Return all shell lines of a page, without prompts and comments, continued lines joined."""
    lines = []
    for body in blocks(text, "console", "bash", "sh"):
        joined = body.replace("\\\n", " ")
        prompts = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
        lines += prompts or [line for line in joined.splitlines() if line and not line.startswith("#")]
    return lines


def hashae_calls(text):
    """Return the arguments of each call of hashae in the shell lines of a page."""
    calls = []
    for line in command_lines(text):
        words = shlex.split(line, comments=True)
        at = [number for number, word in enumerate(words) if word == "hashae" or word.endswith("/hashae")]
        calls += [words[number + 1 :] for number in at]
    return calls


@pytest.fixture(scope="module")
def group():
    module = importlib.import_module("hashae.cli.main")
    groups = [value for value in vars(module).values() if isinstance(value, click.Group)]
    assert groups, "hashae.cli.main holds no click group"
    return groups[0]


def commands_of(group):
    context = click.Context(group, info_name="hashae")
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


def test_commands_of_the_readme_exist(group):
    commands = commands_of(group)
    for arguments in hashae_calls(page("README.md")):
        words = [word for word in arguments if not word.startswith("-")]
        if words:
            assert words[0] in commands, f"the README calls hashae {words[0]}, which does not exist"


def test_options_of_the_readme_exist(group):
    commands = commands_of(group)
    for arguments in hashae_calls(page("README.md")):
        if not arguments or arguments[0].startswith("-"):
            continue
        known = {"--help", *(option for given in commands[arguments[0]].params for option in given.opts)}
        unknown = [word for word in arguments if re.match(r"--?[a-zA-Z]", word) and word.split("=")[0] not in known]
        assert not unknown, f"the README gives hashae {arguments[0]} the options {unknown}, which it does not have"


def test_every_command_is_in_the_readme_with_an_example(group):
    shown = {arguments[0] for arguments in hashae_calls(page("README.md")) if arguments}
    assert set(commands_of(group)) <= shown


def test_every_command_has_help_with_an_example(group):
    for name, command in commands_of(group).items():
        assert command is not None, name
        context = click.Context(command, info_name=f"hashae {name}")
        text = command.get_help(context)
        assert command.help, f"hashae {name} --help says nothing"
        assert f"hashae {name} " in text.split("Usage:", 1)[1].split("\n", 1)[1], f"hashae {name} --help has no example"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"hashae {name} {parameter.opts[0]} has no help"


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for name in PAGES:
        for line in command_lines(page(name)):
            words = shlex.split(line, comments=True)
            if words and words[0] == "make":
                named = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
                assert named <= targets, f"{name} calls {line!r}"


@pytest.mark.parametrize("name", PAGES)
def test_linked_files_exist(name):
    links = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", page(name))
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


def test_python_of_the_readme_compiles_and_its_names_exist():
    for body in blocks(page("README.md"), "python"):
        compile(body, "README.md", "exec")
        for module, names in re.findall(r"^from (hashae\S*) import (.+)$", body, re.MULTILINE):
            for name in re.split(r",\s*", names):
                assert hasattr(importlib.import_module(module), name), f"README: from {module} import {name}"


def test_cheap_commands_of_the_readme_run():
    """Calls that only print help or the version are run as they stand."""
    for arguments in hashae_calls(page("README.md")):
        if {"--help", "--version"} & set(arguments):
            done = subprocess.run(
                [sys.executable, "-m", "hashae.cli", *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert done.returncode == 0, f"hashae {shlex.join(arguments)}: {done.stderr}"
