"""Full disks, folders that cannot be written, file systems that cannot do what is asked: told, and nothing is lost."""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

LARGE = b"a large picture " * 40_000


def states(summary):
    return [(outcome.state, outcome.reason) for outcome in summary.outcomes]


@contextmanager
def file_size_limit(size):
    """Let no file of this process grow beyond `size` bytes, as a full disk would."""
    # Python would leave a part of the compiled code of a module that is first loaded now, and stumble over it for ever.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = written


@pytest.fixture
def mounted(tmp_path, tmp_path_factory):
    """Return a function that mounts a small file system of a kind, and returns its folder."""
    mounts = []

    def mount(kind, size):
        if os.geteuid():
            pytest.skip("only root can mount a file system")
        folder = tmp_path / f"mounted {kind}"
        folder.mkdir()
        source, options = kind, f"size={size}"
        if kind != "tmpfs":
            maker = shutil.which(f"mkfs.{kind}")
            if maker is None:
                pytest.skip(f"mkfs.{kind} is not installed")
            source, options = str(tmp_path_factory.mktemp("image") / f"{kind}.img"), "loop"
            with open(source, "wb") as file:
                file.truncate(size)
            subprocess.run([maker, "-q", source], check=True, capture_output=True)
        done = subprocess.run(["mount", "-t", kind, "-o", options, source, folder], check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"{kind} cannot be mounted here: {done.stderr.decode().strip()}")
        mounts.append(folder)
        return folder

    yield mount
    for folder in mounts:
        subprocess.run(["umount", folder], check=True)


def test_a_move_for_which_there_is_no_room_leaves_the_file_and_no_half_of_it(world, elsewhere):
    world.pair("large.jpg", LARGE)
    world.pair("small.jpg", b"small")
    before, contents = world.tree(), world.contents()
    with file_size_limit(len(LARGE) // 2):
        summary = world.apply("move", to=str(elsewhere / "to"))
    assert states(summary) == [("failed", "File too large"), ("done", "the same file")]
    assert world.contents(elsewhere) == contents
    assert world.leftovers(elsewhere) == []
    again = world.apply("move", to=str(elsewhere / "to"))
    assert states(again) == [("done", "the same file"), ("skipped", "is gone")]
    world.undo()
    world.undo()
    assert world.tree() == before


def test_a_full_disk_is_told_and_the_run_goes_on_with_what_fits(world, mounted):
    full = mounted("tmpfs", len(LARGE) // 2)
    world.pair("large.jpg", LARGE)
    world.pair("small.jpg", b"small")
    contents = world.contents()
    summary = world.apply("move", to=str(full))
    assert states(summary) == [("failed", "No space left on device"), ("done", "the same file")]
    assert world.contents(full) == contents
    assert world.leftovers(full) == []


def test_undoing_without_room_leaves_the_link_as_it_is(world):
    path, _ = world.pair("large.jpg", LARGE)
    before = world.tree()
    world.apply("symlink")
    with file_size_limit(len(LARGE) // 2):
        summary = world.undo()
    assert states(summary) == [("failed", "File too large")]
    assert path.is_symlink()
    assert world.leftovers() == []
    world.undo()
    assert world.tree() == before


def test_a_trash_on_a_full_disk_keeps_no_half_of_a_file(world, desktop, elsewhere, monkeypatch):
    """The trash lies on another file system than the home folder: it has to be copied there."""
    backend = pytest.importorskip("send2trash.plat_other")
    monkeypatch.setenv("XDG_DATA_HOME", str(elsewhere))
    monkeypatch.setattr(backend, "XDG_DATA_HOME", os.fsencode(elsewhere))
    monkeypatch.setattr(backend, "HOMETRASH_B", os.fsencode(elsewhere / "Trash"))
    world.pair("large.jpg", LARGE)
    before, contents = world.tree(), world.contents()
    with file_size_limit(len(LARGE) // 2):
        summary = world.apply("trash")
    assert states(summary) == [("failed", "File too large")]
    assert world.tree() == before
    assert [path for path in elsewhere.rglob("*") if path.is_file()] == []
    assert states(world.apply("trash")) == [("done", "the same file")]
    assert world.contents(elsewhere) == contents
    world.undo()
    assert world.tree() == before


ACT = """
import json, sys
from hashae.db import open_database
from hashae.indexer.executor import Executor
from hashae.indexer.plan import read_plan
from pathlib import Path
db, plan, action, to = sys.argv[1:]
summary = Executor(open_database(db), 1, lambda path: b"").apply(read_plan(Path(plan)), action, to=to or None)
print(json.dumps([[outcome.state, outcome.reason] for outcome in summary.outcomes]))
"""


@pytest.mark.parametrize("action", ["trash", "move", "hardlink", "symlink"])
def test_a_folder_that_is_read_only_keeps_its_files(world, desktop, tmp_path, action):
    """In a process without root's right to write everywhere."""
    from hashae.indexer.plan import write_plan

    wrapper = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root ignores permission bits, and setpriv is not installed")
        wrapper = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    path, _ = world.pair("closed/a.jpg", b"one")
    world.open()[0].close()
    write_plan(world.plan(), tmp_path / "plan.json")
    before = world.tree()
    path.parent.chmod(0o555)
    try:
        to = str(tmp_path / "to") if action == "move" else ""
        command = [*wrapper, sys.executable, "-c", ACT, world.db, tmp_path / "plan.json", action, to]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.stderr) == ('[["failed", "Permission denied"]]', "")
        assert world.tree() == before
        assert [file for file in tmp_path.rglob("Trash/*/*")] == []
    finally:
        path.parent.chmod(0o755)


def test_links_across_file_systems_and_clones_where_there_are_none_say_what_to_do_instead(world, elsewhere, new_world):
    path = elsewhere / "a.jpg"
    path.write_bytes(b"one")
    keeper = world.write(world.keepers / "k.jpg", b"one")
    world.plan_one(path, keeper)
    assert states(world.apply("hardlink")) == [
        ("failed", "is on another file system than its keeper; use trash, move or symlink")
    ]
    assert states(world.apply("reflink")) == [
        ("failed", "the file system cannot share blocks with the keeper (btrfs and XFS can); use hardlink")
    ]
    assert os.listdir(elsewhere) == ["a.jpg"]
    assert states(world.apply("symlink")) == [("done", "the same file")]
    assert path.read_bytes() == b"one"
    world.undo()
    assert not path.is_symlink()


@pytest.mark.parametrize("kind", ["btrfs", "xfs"])
def test_a_reflink_shares_blocks_and_is_a_file_of_its_own(new_world, mounted, kind):
    world = new_world(mounted(kind, 400 << 20))
    path, keeper = world.pair("a.jpg", LARGE * 20)
    subprocess.run(["sync", "-f", path], check=True)
    before, free = world.tree(), shutil.disk_usage(world.root).free
    inode = path.stat().st_ino
    assert states(world.apply("reflink")) == [("done", "the same file")]
    assert world.tree() == before  # mode and time as well
    assert path.stat().st_ino not in {inode, keeper.stat().st_ino}
    subprocess.run(["sync", "-f", path], check=True)
    assert extents(path) == extents(keeper)
    assert shutil.disk_usage(world.root).free > free + len(LARGE) * 10
    path.write_bytes(b"changed")
    assert keeper.read_bytes() == LARGE * 20
    path.write_bytes(LARGE * 20)
    assert [state for state, _ in states(world.undo())] == ["undone"]
    assert extents(path) != extents(keeper)


def extents(path):
    """Physical places of a file, as filefrag lists them."""
    if shutil.which("filefrag") is None:
        pytest.skip("filefrag is not installed")
    listed = subprocess.run(["filefrag", "-v", Path(path)], check=True, capture_output=True, text=True).stdout
    return [line.split(":")[2].strip() for line in listed.splitlines() if line.strip()[:1].isdigit()]


def test_a_read_only_file_system_keeps_everything(new_world, mounted, tmp_path, world):
    folder = mounted("tmpfs", 1 << 20)
    path = folder / "a.jpg"
    path.write_bytes(b"one")
    world.plan_one(path, world.write(world.keepers / "k.jpg", b"one"))
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    for action, to in (("move", str(tmp_path / "to")), ("symlink", None)):
        assert states(world.apply(action, to=to)) == [("failed", "Read-only file system")]
    assert path.read_bytes() == b"one"
    assert not list((tmp_path / "to").rglob("*.jpg"))
