"""What becomes of a command whose child is lost: run again, isolating, given up, or its status handed on."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from hashae.cli import guard
from hashae.cli.main import COMMANDS
from hashae.indexer.in_flight import GUARDED, ISOLATING

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands run in a child on Linux only")


@pytest.fixture
def after(monkeypatch, capsys):
    """Return a function that lets children end with given codes; it returns the status, or the last child's setting."""

    def run(*codes, arguments=("index", "photos")):
        left = iter(codes)
        monkeypatch.setattr(sys, "argv", ["hashae", *arguments])
        monkeypatch.delenv(GUARDED, raising=False)
        monkeypatch.setattr(guard, "_run", lambda: next(left))
        try:
            guard.stand_by()
        except SystemExit as stopped:
            return stopped.code, capsys.readouterr().err.splitlines()
        finally:
            setting = os.environ.pop(GUARDED, None)
        return setting, capsys.readouterr().err.splitlines()

    return run


CRASH = -signal.SIGSEGV


@pytest.mark.parametrize("code", sorted(guard.STATUSES))
def test_the_status_of_a_child_is_that_of_the_command(after, code):
    assert after(code) == (code, [])


def test_a_child_is_told_that_another_process_goes_on(after):
    assert after(None) == ("1", [])
    assert after(CRASH, 3, None)[0] == "1"
    setting, told = after(*[CRASH] * guard.PATIENT, None)
    assert setting == ISOLATING
    assert [("every picture" in line) for line in told] == [False] * (guard.PATIENT - 1) + [True]


def test_a_command_that_keeps_crashing_is_given_up(after):
    status, told = after(*[CRASH] * guard.MOST)
    assert (status, told[-1]) == (1, "hashae: crashed 10 times; what was stored is safe, run: hashae verify")


def test_a_child_that_was_killed_is_not_run_again(after):
    sentence = "hashae: ended by SIGKILL; what was stored is safe, run the command again to go on"
    assert after(-signal.SIGKILL) == (137, [sentence])


@pytest.mark.parametrize("arguments", [(), ("--help",), ("stats",), ("index", "--help"), ("query", "a.jpg")])
def test_other_commands_run_as_they_are(after, arguments):
    assert after(arguments=arguments) == (None, [])  # no child: the first one would raise StopIteration


def test_a_command_within_a_command_has_no_child_of_its_own(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hashae", "index"])
    monkeypatch.setenv(GUARDED, "1")
    monkeypatch.setattr(guard, "_run", lambda: pytest.fail("a child was started"))
    guard.stand_by()


def test_what_is_guarded_is_a_command():
    assert set(COMMANDS) > guard.COMMANDS
