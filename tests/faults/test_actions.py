"""Acting on a plan and taking it back: what is done, what is refused, and that no content is ever lost."""

import dataclasses
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hashae.errors import CollectionError, ConfigError, ImageError, UnknownName
from hashae.indexer.decisions import Verdict, VerdictBook
from hashae.indexer.journal import Journal
from hashae.indexer.moves import free_names, move_new, rename_new
from hashae.indexer.trash import find_in_trash

LINKS = ("hardlink", "symlink")


def states(summary):
    return [outcome.state for outcome in summary.outcomes]


def reasons(summary):
    return [outcome.reason for outcome in summary.outcomes]


def only(summary):
    (outcome,) = summary.outcomes
    return outcome.state, outcome.reason


# --- what is done ---------------------------------------------------------------------------------------------------


def test_listing_and_dry_runs_touch_nothing_and_leave_no_trace(world):
    before = world.fill().tree()
    for action, options in (("list", {}), ("trash", {"dry_run": True}), ("hardlink", {"dry_run": True})):
        summary = world.apply(action, **options)
        assert states(summary) == ["would"] * 6
        assert summary.run is None
    assert world.tree() == before
    assert world.execute(lambda executor: executor.history()) == []
    assert world.missing() == set()


def test_files_go_into_the_trash_and_come_back_with_every_name_mode_and_time(world, desktop):
    before = world.fill().tree()
    summary = world.apply("trash", origin="/some/plan.json")
    assert states(summary) == ["done"] * 6
    assert summary.size("done") == sum(action.size for action in world.actions)
    assert set(world.tree()) == {f"keep/{number}.jpg" for number in range(6)}
    assert all(Path(outcome.target).is_relative_to(desktop / "files") for outcome in summary.outcomes)
    assert world.missing() == {os.path.relpath(action.path, world.folder) for action in world.actions}
    (run,) = world.execute(lambda executor: executor.history())
    assert (run.id, run.action, run.plan, run.counts) == (summary.run, "trash", "/some/plan.json", {"done": 6})
    assert states(world.undo()) == ["undone"] * 6
    assert world.tree() == before
    assert world.missing() == set()
    assert list((desktop / "info").iterdir()) == list((desktop / "files").iterdir()) == []


def test_files_of_one_name_do_not_meet_in_the_trash(world, desktop):
    for folder in ("a", "b", "c"):
        world.pair(f"{folder}/same.jpg", folder.encode() * 50)
    before = world.tree()
    assert states(world.apply("trash")) == ["done"] * 3
    assert len(list((desktop / "files").iterdir())) == 3
    world.undo()
    assert world.tree() == before


def test_files_are_moved_with_their_place_below_the_folder_and_come_back(world, tmp_path):
    before = world.fill().tree()
    contents = world.contents()
    to = tmp_path / "elsewhere" / "new"
    summary = world.apply("move", to=str(to))
    assert states(summary) == ["done"] * 6
    moved = {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
    assert moved == {os.path.relpath(action.path, world.folder) for action in world.actions}
    assert world.contents(to) == contents
    world.undo()
    assert world.tree() == before


def test_moving_never_overwrites_but_finds_another_name(world, tmp_path):
    world.pair("sub/a.jpg", b"one")
    to = tmp_path / "to"
    others = [world.write(to / "sub" / name, name.encode()) for name in ("a.jpg", "a (2).jpg")]
    summary = world.apply("move", to=str(to))
    assert summary.outcomes[0].target == str(to / "sub" / "a (3).jpg")
    assert [path.read_bytes() for path in others] == [b"a.jpg", b"a (2).jpg"]
    assert (to / "sub" / "a (3).jpg").read_bytes() == b"one"


def test_a_file_that_appears_at_the_new_place_at_the_last_moment_is_not_overwritten(world, tmp_path, monkeypatch):
    world.pair("a.jpg", b"one")
    to = tmp_path / "to"
    to.mkdir()

    def late(path):
        found = real(path)
        if os.fspath(path) == str(to / "a.jpg"):
            (to / "a.jpg").write_bytes(b"fast")
        return found

    real = os.path.lexists
    monkeypatch.setattr("hashae.indexer.actions.os.path.lexists", late)
    assert world.apply("move", to=str(to)).outcomes[0].target == str(to / "a (2).jpg")
    assert ((to / "a.jpg").read_bytes(), (to / "a (2).jpg").read_bytes()) == (b"fast", b"one")


@pytest.mark.parametrize("action", LINKS)
def test_links_take_the_place_of_files_and_become_files_of_their_own_again(world, action):
    before = world.fill().tree()
    summary = world.apply(action)
    assert states(summary) == ["done"] * 6
    for planned in world.actions:
        assert os.path.samefile(planned.path, planned.keeper)
        assert os.path.islink(planned.path) == (action == "symlink")
        assert Path(planned.path).read_bytes() == Path(planned.keeper).read_bytes()
    assert world.leftovers() == []
    assert states(world.undo()) == ["undone"] * 6
    assert world.tree() == before
    assert not any(os.path.samefile(planned.path, planned.keeper) for planned in world.actions)


def test_symlinks_are_relative_so_that_the_folder_can_be_moved(world, tmp_path):
    world.pair("deep/er/a.jpg", b"one")
    world.apply("symlink")
    world.folder.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "deep" / "er" / "a.jpg").read_bytes() == b"one"


@pytest.mark.parametrize("action", ["trash", "hardlink", "symlink"])
def test_a_folder_that_is_a_link_leads_to_the_same_files(world, desktop, tmp_path, action):
    path, keeper = world.pair("real/a.jpg", b"one")
    os.symlink(path.parent, world.folder / "link")
    world.actions = []
    world.plan_one(world.folder / "link" / "a.jpg", keeper)
    before = world.tree()
    assert states(world.apply(action)) == ["done"]
    assert path.exists() == (action != "trash")
    assert states(world.undo()) == ["undone"]
    assert world.tree() == before


def test_several_runs_are_undone_one_by_one_the_newest_first_or_by_number(world, desktop):
    world.fill()
    before = world.tree()
    actions = world.actions
    for action in actions[:3]:
        world.actions = [action]
        world.apply("trash")
    one, two, three = [run.id for run in world.execute(lambda executor: executor.history())]
    assert world.undo().run == three
    assert world.undo(one).run == one
    assert world.undo().run == two
    assert world.tree() == before
    with pytest.raises(UnknownName, match="nothing is left to undo; see what was done with: hashae history"):
        world.undo()
    assert world.undo(two).outcomes == []
    with pytest.raises(UnknownName, match="there is no run 77"):
        world.undo(77)
    assert world.tree() == before


# --- what is refused ------------------------------------------------------------------------------------------------


def refused(world, reason, *, action="trash", plan=None, **options):
    """Assert that nothing is done, for that reason, and that the files are as they were."""
    before = world.tree()
    summary = world.apply(action, plan, **options)
    assert [(state, text) for state, text in zip(states(summary), reasons(summary), strict=True)] == [
        ("skipped", reason)
    ]
    assert world.tree() == before
    assert world.execute(lambda executor: executor.history()) == []


def test_a_file_that_changed_since_the_plan_stays(world, desktop):
    path, _ = world.pair("a.jpg", b"one")
    path.write_bytes(b"two")  # of the same size
    refused(world, "has changed since the plan was made")
    path.write_bytes(b"longer")
    refused(world, "has changed since the plan was made")


def test_a_file_that_is_gone_or_is_no_file_any_more_is_left_alone(world, desktop, tmp_path):
    path, keeper = world.pair("a.jpg", b"one")
    path.unlink()
    refused(world, "is gone")
    os.symlink(keeper, path)
    refused(world, "is a link now; only files are acted on")
    path.unlink()
    path.mkdir()
    refused(world, "is no regular file")
    path.rmdir()
    os.mkfifo(path)
    refused(world, "is no regular file")


def test_without_its_keeper_a_file_stays(world, desktop):
    _, keeper = world.pair("a.jpg", b"one")
    keeper.write_bytes(b"two")
    refused(world, f"its keeper has changed since the plan was made ({keeper})")
    keeper.unlink()
    refused(world, f"its keeper is gone ({keeper})")
    keeper.mkdir()
    refused(world, f"its keeper cannot be read ({keeper}: Is a directory)")


def test_a_keeper_that_vanishes_during_the_run_saves_what_comes_after(world, desktop):
    _, keeper = world.pair("a.jpg", b"one")
    second = world.write(world.folder / "b.jpg", b"one")
    world.plan_one(second, keeper)

    def vanish(progress):
        if progress.done == 1:
            keeper.unlink()

    summary = world.apply("trash", on_progress=vanish)
    assert states(summary) == ["done", "skipped"]
    assert second.read_bytes() == b"one"


def test_two_files_that_name_each_other_as_keepers_do_not_both_go(world, desktop):
    one, two = world.pair("a.jpg", b"one")
    world.plan_one(two, one)
    summary = world.apply("trash")
    assert states(summary) == ["skipped", "skipped"]
    assert set(reasons(summary)) == {"is the same file as a keeper, by another name"}
    assert world.contents()[world.actions[0].content] == 2


def test_the_keeper_by_another_name_is_not_removed(world, desktop, tmp_path):
    _, keeper = world.pair("a.jpg", b"one")
    other = world.folder / "hard.jpg"
    os.link(keeper, other)
    os.symlink(keeper.parent, world.folder / "alias")
    for name in (other, world.folder / "alias" / keeper.name):
        world.actions = []
        world.plan_one(name, keeper)
        refused(world, "is the same file as a keeper, by another name")


def test_protected_folders_hold_whatever_became_of_the_plan(world, desktop, tmp_path):
    world.pair("safe/a.jpg", b"one")
    folder = str(world.folder / "safe")
    refused(world, f"lies in a protected folder ({folder})", plan=world.plan(protect=(folder,)))
    os.symlink(folder, tmp_path / "alias")
    alias = str(tmp_path / "alias")
    refused(world, f"lies in a protected folder ({alias})", plan=world.plan(protect=(alias,)))


@pytest.mark.parametrize(("tier", "words"), [("code", "same code"), ("near", "within radius")])
def test_weak_tiers_are_not_acted_on_unless_allowed(world, desktop, tier, words):
    path, _ = world.pair("a.jpg", b"one", tier=tier, other=b"other")
    refused(world, f"{words} is not acted on; look at it, then allow it with --tier {tier}")
    assert states(world.apply("trash", tier=tier)) == ["done"]
    world.undo()
    assert path.read_bytes() == b"one"


def test_a_strong_tier_in_an_edited_plan_is_held_against_the_files(world, desktop):
    world.pair("a.jpg", b"one", other=b"other")
    refused(world, "its bytes differ from those of its keeper, although the plan says same bytes")
    planned = dataclasses.replace(world.actions[0], tier="pixels")

    def apply(pixel_hash):
        plan = dataclasses.replace(world.plan(), actions=(planned,))
        return only(world.execute(lambda executor: executor.apply(plan, "list"), pixel_hash=pixel_hash))

    assert apply(lambda path: path.encode()) == (
        "skipped",
        "its pixels differ from those of its keeper, although the plan says same pixels",
    )
    assert apply(lambda path: b"same")[0] == "would"

    def damaged(path):
        raise ImageError(path, "truncated image")

    assert apply(damaged)[1].startswith("its pixels cannot be compared (")


@pytest.mark.parametrize("action", ["hardlink", "symlink", "reflink"])
def test_a_link_never_takes_the_place_of_other_bytes(world, action):
    world.pair("a.jpg", b"one", tier="near", other=b"other")
    refused(
        world,
        f"its bytes differ from those of its keeper: a {action} would lose them; use trash or move",
        action=action,
        tier="near",
    )


def test_what_a_person_said_after_the_plan_was_made_counts(world, desktop):
    world.pair("a.jpg", b"one", tier="near", other=b"other")
    mine, its = world.actions[0].content, world.actions[0].keeper_content

    def say(kind, contents):
        def add(executor):
            book = VerdictBook(executor._database, executor._collection)
            book.forget([verdict.id for verdict in book.all()])
            book.add([Verdict(0, kind, "2026-01-01T00:00:00Z", dict.fromkeys(contents, "/a"))])

        world.execute(add)

    say("keep", [mine])
    refused(world, "you said to keep it", tier="near")
    say("distinct", [mine, its])
    refused(world, "you said that it is no duplicate of its keeper", tier="near")
    say("ignore", [mine, its, b"x" * 16])
    refused(world, "you said to ignore its group", tier="near")
    say("keep", [its])
    assert states(world.apply("trash", tier="near")) == ["done"]


def test_settings_that_make_no_sense_are_refused(world, tmp_path):
    world.fill()
    (tmp_path / "file").touch()
    for action, options, sentence in [
        ("burn", {}, "'burn' is no action; expected list, trash, move, hardlink, symlink, reflink"),
        ("list", {"tier": "best"}, "'best' is no tier; expected one of bytes, pixels, code, near"),
        ("move", {}, "action move needs a folder to move to, and no other action takes one: --to FOLDER"),
        ("trash", {"to": "/x"}, "action move needs a folder to move to, and no other action takes one: --to FOLDER"),
        ("move", {"to": str(tmp_path / "file")}, f"--to: {tmp_path / 'file'} is no folder"),
        ("move", {"to": str(world.folder / "spare")}, f"--to: {world.folder / 'spare'} lies in {world.folder}, a fol"),
    ]:
        with pytest.raises(ConfigError) as error:
            world.apply(action, **options)
        assert str(error.value).startswith(sentence)
    assert states(world.apply("move", to=str(world.folder / ".spare"))) == ["done"] * 6


def test_two_runs_at_once_are_refused(world, desktop):
    world.fill()
    database, id_ = world.open()
    with Journal(database, id_).alone():
        with pytest.raises(CollectionError, match=r"another hashae is acting on files of .*; wait until it has ended"):
            world.apply("trash")
        assert states(world.apply("list")) == ["would"] * 6
    database.close()
    assert states(world.apply("trash")) == ["done"] * 6
    assert not Path(f"{world.db}.lock").exists()


# --- what cannot be undone ------------------------------------------------------------------------------------------


def undone(world, reason):
    """Assert that undoing changes nothing, for that reason."""
    before = world.contents()
    summary = world.undo()
    assert [(outcome.state, outcome.reason) for outcome in summary.outcomes] == [("failed", reason)]
    assert world.contents() == before


@pytest.mark.parametrize("action", ["trash", "move"])
def test_a_file_that_took_the_place_since_is_not_overwritten(world, desktop, tmp_path, action):
    path, _ = world.pair("a.jpg", b"one")
    to = {"to": str(tmp_path / "to")} if action == "move" else {}
    world.apply(action, **to)
    path.write_bytes(b"new")
    undone(world, "there is a file at its place now; move that away first")
    assert path.read_bytes() == b"new"
    path.unlink()
    assert states(world.undo()) == ["undone"]
    assert path.read_bytes() == b"one"


def test_a_trash_that_was_emptied_gives_nothing_back(world, desktop):
    world.pair("a.jpg", b"one")
    target = world.apply("trash").outcomes[0].target
    os.unlink(target)
    undone(world, "is not in the trash, or hashae cannot look there; see the desktop's own trash")


def test_a_file_is_found_in_the_trash_by_path_and_content_whatever_it_is_called_there(world, desktop):
    path, _ = world.pair("a.jpg", b"one")
    world.write(desktop / "files" / "a.jpg", b"older, of the same name")
    world.write(desktop / "info" / "a.jpg.trashinfo", f"[Trash Info]\nPath={path}\n".encode())
    target = world.apply("trash").outcomes[0].target
    other = desktop / "files" / "renamed"
    os.rename(target, other)
    os.rename(desktop / "info" / f"{Path(target).name}.trashinfo", desktop / "info" / "renamed.trashinfo")
    assert find_in_trash(str(path), world.actions[0].content).file == str(other)
    assert states(world.undo()) == ["undone"]
    assert path.read_bytes() == b"one"
    assert (desktop / "files" / "a.jpg").read_bytes() == b"older, of the same name"


def test_what_was_moved_and_edited_is_not_moved_back(world, tmp_path):
    world.pair("a.jpg", b"one")
    target = Path(world.apply("move", to=str(tmp_path / "to")).outcomes[0].target)
    target.write_bytes(b"edited")
    undone(world, f"has changed since it was moved, or cannot be read: {target}")
    assert target.read_bytes() == b"edited"
    target.unlink()
    undone(world, f"is gone from {target}")


def test_a_link_whose_keeper_is_gone_or_edited_is_left_as_it_is(world):
    path, keeper = world.pair("a.jpg", b"one")
    world.apply("symlink")
    keeper.rename(world.root / "away.jpg")
    undone(world, f"leads nowhere: its keeper is gone ({keeper})")
    keeper.write_bytes(b"edited")
    undone(world, "has changed since; its content is no longer what it was")
    keeper.write_bytes(b"one")
    path.unlink()
    path.write_bytes(b"mine")
    undone(world, "is no link to its keeper any more")


def test_a_folder_that_is_gone_is_made_again(world, desktop):
    path, _ = world.pair("deep/er/a.jpg", b"one")
    world.apply("trash")
    path.parent.rmdir()
    path.parent.parent.rmdir()
    assert states(world.undo()) == ["undone"]
    assert path.read_bytes() == b"one"


# --- the single steps -----------------------------------------------------------------------------------------------


def test_renaming_never_overwrites_with_and_without_the_call_of_linux(tmp_path, monkeypatch):
    for step in range(2):
        one, two = tmp_path / f"{step} one", tmp_path / f"{step} two"
        one.write_bytes(b"one")
        two.write_bytes(b"two")
        with pytest.raises(FileExistsError):
            rename_new(str(one), str(two))
        assert (one.read_bytes(), two.read_bytes()) == (b"one", b"two")
        rename_new(str(one), str(tmp_path / f"{step} three"))
        assert not one.exists()
        assert (tmp_path / f"{step} three").read_bytes() == b"one"
        monkeypatch.setattr("hashae.indexer.moves._renameat2", lambda: None)


def test_free_names_keep_the_ending(tmp_path):
    names = free_names("/a/b.tar.jpg")
    assert [next(names) for _ in range(3)] == ["/a/b.tar.jpg", "/a/b.tar (2).jpg", "/a/b.tar (3).jpg"]
    names = free_names("/a/noending")
    assert [next(names) for _ in range(2)] == ["/a/noending", "/a/noending (2)"]


def test_the_lock_ends_with_the_process_that_held_it(world):
    world.fill()
    world.open()[0].close()
    holder = (
        "import sys, time\n"
        "from hashae.db import open_database\n"
        "from hashae.indexer.journal import Journal\n"
        "with Journal(open_database(sys.argv[1]), 1).alone():\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", holder, str(world.db)], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(CollectionError, match="another hashae"):
        world.apply("symlink")
    child.kill()
    child.communicate()
    assert states(world.apply("symlink")) == ["done"] * 6


def test_many_who_want_to_act_get_the_lock_one_after_the_other(world):
    database, id_ = world.open()
    inside, most, refusals = [], [], []

    def act():
        journal = Journal(database, id_)
        for _ in range(50):
            try:
                with journal.alone():
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except CollectionError:
                refusals.append(1)

    threads = [threading.Thread(target=act) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()
    assert len(most) + len(refusals) == 200
    assert set(most) == {1}


def test_a_move_between_file_systems_copies_checks_and_then_removes(world, elsewhere, content, monkeypatch):
    path, _ = world.pair("a.jpg", b"one" * 1000)
    before = path.stat()
    target = elsewhere / "a.jpg"
    move_new(str(path), str(target), str(elsewhere / ".t"), content(b"one" * 1000))
    assert not path.exists()
    assert target.read_bytes() == b"one" * 1000
    assert (target.stat().st_mtime_ns, stat.S_IMODE(target.stat().st_mode)) == (before.st_mtime_ns, 0o640)
    with pytest.raises(OSError, match="the copy differs from the file"):
        move_new(str(target), str(path), str(path) + ".t", content(b"another"))
    assert target.exists()
    assert not path.exists()
    assert os.listdir(elsewhere) == ["a.jpg"]
    assert world.contents(elsewhere)[content(b"one" * 1000)] == 2
