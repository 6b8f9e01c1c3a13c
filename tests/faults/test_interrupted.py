"""kill -9 at every step of acting and of undoing: the next start settles it, and every content is still there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hashae.indexer.plan import write_plan

ACTIONS = ("trash", "move", "hardlink", "symlink")
EVERY = pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.long)])
"""Steps from one kill to the next; the long form kills at every step."""


@pytest.fixture(scope="module")
def victim():
    """Return a process that runs what it is told and is killed at a given step; see ``killed.py``."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("killed.py"))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()


@pytest.fixture
def run_and_die(victim, world):
    """Return a function that acts and is killed right before step `at`; False if it came to its end before that."""

    def run(action, at, to=None):
        plan = world.root / "plan.json"
        write_plan(world.plan(), plan)
        world.open()[0].close()
        environment = {name: os.environ[name] for name in ("HOME", "XDG_DATA_HOME") if name in os.environ}
        request = {"db": str(world.db), "plan": str(plan), "action": action, "to": to, "at": at}
        victim.stdin.write(json.dumps({**request, "environment": environment}) + "\n")
        victim.stdin.flush()
        status = json.loads(victim.stdout.readline())
        assert status in {0, -signal.SIGKILL}
        return status != 0

    return run


def settled(world):
    """Settle what is open, as the next start does: nothing of ours is left lying about. Return what is done now."""

    def settle(executor):
        executor.recover()
        return [entry.state for run in executor.history() for entry in executor.entries(run.id)]

    states = world.execute(settle)
    assert world.leftovers() == []
    assert set(states) <= {"done", "failed", "undone"}
    return states.count("done")


def loses_nothing(world, die, before, contents, *elsewhere, every, first=lambda: None):
    """Kill a run at every so-and-so-many-th step; after each, every content is there, and undoing brings all back.

    `first` is called before each run, in peace. Return the number of steps.
    """
    for at in range(0, 500, every):
        first()
        if not die(at):
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


@EVERY
@pytest.mark.parametrize("action", ACTIONS)
def test_a_run_killed_at_any_step_loses_nothing_and_can_be_done_again_and_undone(
    world, run_and_die, desktop, tmp_path, action, every
):
    world.fill(("a.jpg", "sub/two\nlines.jpg"))
    before, contents = world.tree(), world.contents()
    places, options = settings(action, desktop, tmp_path)
    kills = loses_nothing(world, lambda at: run_and_die(action, at, **options), before, contents, *places, every=every)
    assert kills >= 10  # moving takes the fewest steps, eleven
    assert settled(world) == 2  # the last one came through
    world.undo()
    assert world.tree() == before
    assert world.missing() == set()
    assert list(desktop.glob("*/*")) == []


@EVERY
@pytest.mark.parametrize("action", ACTIONS)
def test_an_undo_killed_at_any_step_loses_nothing_and_can_be_done_again(
    world, run_and_die, desktop, tmp_path, action, every
):
    world.fill(("sub/two\nlines.jpg",))
    before, contents = world.tree(), world.contents()
    places, options = settings(action, desktop, tmp_path)
    kills = loses_nothing(
        world,
        lambda at: run_and_die("undo", at),
        before,
        contents,
        *places,
        every=every,
        first=lambda: world.apply(action, **options),
    )
    assert kills >= 5
    assert settled(world) == 0
    assert world.tree() == before
    assert world.missing() == set()


@EVERY
def test_a_move_to_another_file_system_killed_at_any_step_leaves_one_whole_file(world, run_and_die, elsewhere, every):
    world.fill(("a.jpg",))
    before, contents = world.tree(), world.contents()
    to = elsewhere / "to"
    there = loses_nothing(world, lambda at: run_and_die("move", at, str(to)), before, contents, to, every=every)
    world.undo()
    back = loses_nothing(
        world,
        lambda at: run_and_die("undo", at),
        before,
        contents,
        to,
        every=every,
        first=lambda: world.apply("move", to=str(to)),
    )
    assert min(there, back) >= 10
    assert world.tree() == before
    assert world.contents(to) == contents


def test_the_next_run_settles_an_interrupted_one_first_and_tells(world, run_and_die, desktop):
    world.fill(("a.jpg", "b.jpg"))
    before = world.tree()
    at = 0
    while run_and_die("trash", at):
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
