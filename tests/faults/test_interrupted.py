"""kill -9 at every step of acting and of undoing: the next start settles it, and every content is still there."""

import os
import signal
import sys

import pytest

from hashae.indexer.journal import Journal

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child ends without its threads

STEPS = ("os.", "ctypes.call_function", "shutil.", "fcntl.ioctl", "ours.")
"""Audit events at which a run is killed: all that changes a folder, and both sides of every entry of the journal."""

ACTIONS = ("trash", "move", "hardlink", "symlink")


def run_and_die(call, at):
    """Run `call` in a child that kills itself at step `at`, right before it; return False if it ended before that."""
    child = os.fork()
    if child == 0:
        left = at

        def step(event, _arguments):
            nonlocal left
            if event.startswith(STEPS) and event not in {"os.listdir", "os.scandir", "os.kill"}:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        for name in ("intend", "settle", "begin"):
            wrapped = getattr(Journal, name)

            def audited(self, *arguments, wrapped=wrapped, **options):
                sys.audit("ours.before")
                found = wrapped(self, *arguments, **options)
                sys.audit("ours.after")
                return found

            setattr(Journal, name, audited)
        status = 1
        try:
            sys.addaudithook(step)
            call()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def settled(world):
    """Settle what is open, as the next start does: nothing of ours is left lying about. Return what is done now."""

    def settle(executor):
        executor.recover()
        return [entry.state for run in executor.history() for entry in executor.entries(run.id)]

    states = world.execute(settle)
    assert world.leftovers() == []
    assert set(states) <= {"done", "failed", "undone"}
    return states.count("done")


def loses_nothing(world, calls, before, contents, *elsewhere):
    """Kill the last of `calls` at every step; after each, every content is there, and undoing brings all back.

    The calls before it are made in peace. Return the number of kills.
    """
    for at in range(500):
        for call in calls[:-1]:
            call()
        if not run_and_die(calls[-1], at):
            return at
        done = settled(world)
        places = [place for place in elsewhere if place.exists()]
        if places:
            assert world.leftovers(*places) == []
        assert world.contents(*places) == contents or (not elsewhere and set(world.contents()) == set(contents))
        if done:
            assert {outcome.state for outcome in world.undo().outcomes} == {"undone"}
        assert world.tree() == before
    raise AssertionError("it never ended")


def settings(action, desktop, tmp_path):
    """Return where files go, and the settings of the action."""
    to = tmp_path / "to"
    places = {"trash": (desktop / "files",), "move": (to,)}.get(action, ())
    return places, {"to": str(to)} if action == "move" else {}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_run_killed_at_any_step_loses_nothing_and_can_be_done_again_and_undone(world, desktop, tmp_path, action):
    world.fill(("a.jpg", "sub/two\nlines.jpg"))
    before, contents = world.tree(), world.contents()
    places, options = settings(action, desktop, tmp_path)
    kills = loses_nothing(world, [lambda: world.apply(action, **options)], before, contents, *places)
    assert kills >= 12
    assert settled(world) == 2  # the last one came through
    world.undo()
    assert world.tree() == before
    assert world.missing() == set()
    assert list(desktop.glob("*/*")) == []


@pytest.mark.parametrize("action", ACTIONS)
def test_an_undo_killed_at_any_step_loses_nothing_and_can_be_done_again(world, desktop, tmp_path, action):
    world.fill(("sub/two\nlines.jpg",))
    before, contents = world.tree(), world.contents()
    places, options = settings(action, desktop, tmp_path)
    calls = [lambda: world.apply(action, **options), world.undo]
    assert loses_nothing(world, calls, before, contents, *places) >= 6
    assert settled(world) == 0
    assert world.tree() == before
    assert world.missing() == set()


def test_a_move_to_another_file_system_killed_at_any_step_leaves_one_whole_file(world, elsewhere):
    world.fill(("a.jpg",))
    before, contents = world.tree(), world.contents()
    to = elsewhere / "to"
    calls = [lambda: world.apply("move", to=str(to)), world.undo]
    assert loses_nothing(world, calls[:1], before, contents, to) >= 10
    world.undo()
    assert loses_nothing(world, calls, before, contents, to) >= 10
    assert world.tree() == before
    assert world.contents(to) == contents


def test_the_next_run_settles_an_interrupted_one_first_and_tells(world, desktop):
    world.fill(("a.jpg", "b.jpg"))
    before = world.tree()
    at = 0
    while run_and_die(lambda: world.apply("trash"), at):
        at += 1
        waiting = world.execute(lambda executor: [entry.state for entry in executor._journal.interrupted()])
        if waiting and len(world.tree()) == len(before) - 1:
            break  # the first file is in the trash, and the journal does not know yet
        world.execute(lambda executor: executor.recover())
        while any(run.counts.get("done") for run in world.execute(lambda executor: executor.history())):
            world.undo()
    summary = world.apply("trash")
    assert [(entry.path, entry.state) for entry in summary.recovered] == [(world.actions[0].path, "done")]
    assert [outcome.state for outcome in summary.outcomes] == ["skipped", "done"]
    world.undo()
    world.undo()
    assert world.tree() == before
