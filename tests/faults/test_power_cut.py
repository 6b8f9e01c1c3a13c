"""The power is cut in the middle of acting: the next start settles it, nothing is lost, and undo brings all back.

Collection and pictures lie on real file systems (ext4 on an image file) that write only what they are asked to. What
an image holds at a moment is what a disk would hold after a cut at that moment; it is mounted again and gone on with.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hashae.indexer.plan import write_plan

EVERY = pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.long)])
"""Steps from one cut to the next; the long form cuts at every step."""

ACTIONS = ("trash", "move", "hardlink", "symlink")
SIZE = 8 << 20


class Disks:
    """File systems of their own, each below a folder."""

    def __init__(self, folder, names):
        self.places = {name: folder / name for name in names}
        self.images = [folder / f"{name}.img" for name in names]
        self._mounted = []
        for image, place in zip(self.images, self.places.values(), strict=True):
            place.mkdir()
            with image.open("wb") as file:
                file.truncate(SIZE)
            maker = shutil.which("mkfs.ext4")
            if maker is None:
                pytest.skip("mkfs.ext4 is not installed")
            subprocess.run([maker, "-q", "-b", "1024", "-J", "size=1", image], check=True)
        self.mount()

    def mount(self):
        for image, place in zip(self.images, self.places.values(), strict=True):
            # By itself it would write every five seconds.
            done = subprocess.run(["mount", "-o", "loop,commit=3000", image, place], check=False, capture_output=True)
            if done.returncode:
                pytest.skip(f"a file system cannot be mounted here: {done.stderr.decode().strip()}")
            self._mounted.append(place)

    def unmount(self):
        while self._mounted:
            subprocess.run(["umount", self._mounted.pop()], check=True)

    def replace(self, *copies):
        """Put other images in the place of these."""
        self.unmount()
        for copy, image in zip(copies, self.images, strict=True):
            shutil.move(copy, image)
        self.mount()


@pytest.fixture
def disks(tmp_path):
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root can mount a file system")
    made = []

    def make(*names):
        made.append(Disks(tmp_path, names))
        return made[-1]

    yield make
    for one in made:
        one.unmount()


def cut_everywhere(world, disks, action, to, every, written, tmp_path):
    """Act, with copies of the disks on the way; yield once for each of them, with the disks in that state."""
    plan, copies = tmp_path / "plan.json", tmp_path / "copies"
    write_plan(world.plan(), plan)
    copies.mkdir()
    os.sync()
    request = {"db": world.db, "plan": plan, "action": action, "to": to, "copies": copies}
    request |= {"disks": disks.images, "every": every, "written": written}
    command = [sys.executable, "-P", Path(__file__).with_name("cut.py"), json.dumps(request, default=str)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for number in range(int(done.stdout)):
        disks.replace(*(copies / f"{number}-{disk}" for disk in range(len(disks.images))))
        yield number
    shutil.rmtree(copies)


def settle(world):
    """Settle what is open, as the next start does; return the states of all actions."""

    def all_states(executor):
        executor.recover()
        return [entry.state for run in executor.history() for entry in executor.entries(run.id)]

    states = world.execute(all_states)
    assert world.leftovers() == []
    return states


def undo_all(world):
    """Undo until nothing is left to undo; nothing may refuse."""
    while any(run.counts.get("done") for run in world.execute(lambda executor: executor.history())):
        summary = world.undo()
        assert [(outcome.state, outcome.reason) for outcome in summary.outcomes if outcome.state != "undone"] == []


@EVERY
@pytest.mark.parametrize("written", [(), ("one",)], ids=["late", "at once"])
@pytest.mark.parametrize("action", ACTIONS)
def test_on_one_disk(new_world, disks, tmp_path, monkeypatch, action, written, every):
    """Collection, pictures, trash and the folder that is moved to share a file system."""
    disk = disks("one")
    place = disk.places["one"]
    lose_nothing(new_world, disk, place, place, tmp_path, monkeypatch, action, written, every)


@EVERY
@pytest.mark.parametrize("written", [(), ("pictures",), ("journal",)], ids=["late", "pictures first", "journal first"])
@pytest.mark.parametrize("action", ACTIONS)
def test_with_the_collection_on_another_disk_than_the_pictures(
    new_world, disks, tmp_path, monkeypatch, action, written, every
):
    """The journal can be ahead of the pictures then, or the pictures ahead of what the journal says was done."""
    both = disks("journal", "pictures")
    journal, pictures = both.places.values()
    lose_nothing(new_world, both, journal, pictures, tmp_path, monkeypatch, action, written, every)


@EVERY
@pytest.mark.parametrize("written", [(), ("one",), ("two",)], ids=["late", "here first", "there first"])
def test_a_move_to_another_disk(new_world, disks, tmp_path, monkeypatch, written, every):
    both = disks("one", "two")
    one, two = both.places.values()
    lose_nothing(new_world, both, one, one, tmp_path, monkeypatch, "move", written, every, to=two / "to" / "there")


@EVERY
@pytest.mark.parametrize("written", [(), ("one",), ("two",)], ids=["late", "here first", "there first"])
def test_a_trash_on_another_disk(new_world, disks, tmp_path, monkeypatch, written, every):
    both = disks("one", "two")
    one, two = both.places.values()
    lose_nothing(new_world, both, one, one, tmp_path, monkeypatch, "trash", written, every, trash=two)


def lose_nothing(
    new_world, disk, journal, pictures, tmp_path, monkeypatch, action, written, every, to=None, trash=None
):
    home = (trash or pictures) / "home"
    backend = pytest.importorskip("send2trash.plat_other")
    data = home / ".local" / "share"
    data.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(pictures))
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    monkeypatch.setattr(backend, "XDG_DATA_HOME", os.fsencode(data))
    world = new_world(pictures)
    if journal != pictures:
        world.db = Path(shutil.move(world.db, journal / "photos.db"))
    world.fill(("a.jpg", "sub/two\nlines.jpg"))
    world.open()[0].close()
    before, contents = world.tree(), set(world.contents())
    to = to if action != "move" or to else pictures / "to" / "there"
    written = [str(disk.places[name]) for name in written]
    states = set()
    for _ in cut_everywhere(world, disk, action, str(to) if to else None, every, written, tmp_path):
        states |= set(settle(world))
        places = [place for place in (data / "Trash" / "files", to) if place and place.exists()]
        assert contents <= set(world.contents(*places))
        undo_all(world)
        assert world.tree() == before
        assert world.leftovers(*places) == []
        assert world.missing() == set()
    assert states >= {"done"}
