"""Decoders that crash or hang: one picture is lost and named, the run goes on; without isolation, the next run does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hashae.errors import ImageError
from hashae.images.decode import decode, read_bytes
from hashae.images.isolated import IsolatedDecoder
from hashae.indexer.in_flight import GUARDED, InFlight

BAD_DECODER = """
import ctypes, time
from PIL import PpmImagePlugin

real = PpmImagePlugin.PpmImageFile.load

def load(self):
    comment = self.fp.getvalue()[-5:] if hasattr(self.fp, "getvalue") else b""
    if comment == b"crash":
        ctypes.string_at(0)
    if comment == b"hangs":
        time.sleep(1000)
    if comment == b"exits":
        import os
        os._exit(3)
    return real(self)

PpmImagePlugin.PpmImageFile.load = load
"""
"""A decoder of Pillow that does what the last bytes of a file say; put where every Python process loads it."""

IMPATIENT = """
import hashae.indexer.ingest as ingest
ingest.SECONDS, ingest.LOOKED = 3.0, 0.2
"""


@pytest.fixture
def bad_decoder(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BAD_DECODER)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def photos(tmp_path, fill, draw):
    folder = fill(tmp_path / "photos", range(12))
    for word in ("crash", "exits"):
        draw(50).save(folder / f"5 {word}.ppm")
        with (folder / f"5 {word}.ppm").open("ab") as file:
            file.write(word.encode())
    return folder


def reasons(failed):
    return {Path(f["path"]).name: f["reason"] for f in failed}


def test_a_decoder_that_crashes_costs_its_picture_and_the_run_goes_on(
    hashae, photos, tmp_path, encoder_file, bad_decoder
):
    db = tmp_path / "photos.db"
    options = ("--encoder", encoder_file, "--db", db, "--json")
    done = hashae("index", photos, *options, "--isolate", env=bad_decoder)
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert told["images"] == 12
    assert reasons(told["failed"]) == {
        "5 crash.ppm": "the decoder crashed (SIGSEGV)",
        "5 exits.ppm": "the decoder ended by itself (status 3)",
    }
    again = json.loads(
        hashae("index", *options[2:], env=bad_decoder).out
    )  # not tried again, not even without isolation
    assert (again["unchanged"], reasons(again["failed"])) == (12, reasons(told["failed"]))


@pytest.mark.skipif(sys.platform != "linux", reason="commands run in a child on Linux only")
def test_without_being_asked_a_decoder_that_crashes_costs_its_picture(
    hashae, photos, tmp_path, encoder_file, bad_decoder
):
    db = tmp_path / "photos.db"
    done = hashae("index", photos, "--encoder", encoder_file, "--db", db, "--json", "--workers", "1", env=bad_decoder)
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert (told["images"], sorted(reasons(told["failed"]))) == (12, ["5 crash.ppm", "5 exits.ppm"])
    assert list(tmp_path.glob("photos.db.decoding-*")) == []
    assert [line for line in done.err.splitlines() if "a decoder crashed" in line] == [
        f"hashae: a decoder crashed or did not come to an end ({how}); what was being decoded is looked at apart, and "
        "the run goes on"
        for how in ("SIGSEGV", "status 3")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="commands run in a child on Linux only")
def test_a_decoder_that_hangs_costs_its_picture(hashae, tmp_path, fill, draw, encoder_file, bad_decoder):
    folder = fill(tmp_path / "photos", range(4))
    draw(50).save(folder / "2 hangs.ppm")
    with (folder / "2 hangs.ppm").open("ab") as file:
        file.write(b"hangs")
    with (Path(bad_decoder["PYTHONPATH"]) / "sitecustomize.py").open("a") as file:
        file.write(IMPATIENT)
    db = tmp_path / "photos.db"
    done = hashae("index", folder, "--encoder", encoder_file, "--db", db, "--json", env=bad_decoder)
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert (told["images"], reasons(told["failed"])) == (
        4,
        {"2 hangs.ppm": "the decoder did not finish within 3 s"},
    )
    assert "(SIGABRT)" in done.err


def test_after_a_crash_the_next_run_isolates_what_was_being_decoded(
    hashae, photos, tmp_path, encoder_file, bad_decoder
):
    bad_decoder = {**bad_decoder, GUARDED: "1"}  # as if another process went on
    db = tmp_path / "photos.db"
    options = ("--encoder", encoder_file, "--db", db)
    for name in ("5 crash.ppm", "5 exits.ppm"):
        crashed = hashae("index", photos, *options, "--workers", "1", env=bad_decoder)
        assert crashed.status in {-signal.SIGSEGV, 3}, crashed.err
        assert any(name.encode() in left.read_bytes() for left in tmp_path.glob("photos.db.decoding-*"))
    done = hashae("index", photos, *options, "--workers", "1", "--json", env=bad_decoder)
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert (told["images"], sorted(reasons(told["failed"]))) == (12, ["5 crash.ppm", "5 exits.ppm"])
    assert list(tmp_path.glob("photos.db.decoding-*")) == []


def test_codes_are_the_same_in_any_process(cli, photos, tmp_path, encoder_file):
    found = []
    for name, more in (("a", ()), ("b", ("--isolate",))):
        db = tmp_path / f"{name}.db"
        assert cli("index", photos, "--encoder", encoder_file, "--db", db, *more).status == 0
        answer = cli("query", photos / "1.png", "-k", "14", "--json", "--db", db)
        found.append([(m["path"], m["distance"]) for m in json.loads(answer.out)["matches"]])
    assert found[0] == found[1]
    assert len(found[0]) == 14


# --- the process --------------------------------------------------------------------------------------------------


@pytest.fixture
def decoder():
    opened = IsolatedDecoder(seconds=20)
    yield opened
    opened.close()


def test_pictures_and_reasons_are_those_of_this_process(decoder, photos, tmp_path):
    text, empty = tmp_path / "text.png", tmp_path / "empty.png"
    text.write_text("no picture")
    empty.write_bytes(b"")
    for path in (*sorted(photos.glob("*.png"))[:3], text, empty, tmp_path / "none.png", os.fsdecode(b"/raw \xff.png")):
        found, expected = [], []
        for result, act in ((found, apart), (expected, here)):
            try:
                image = act(decoder, str(path))
                result += [image.thumb.tolist(), image.width, image.height, image.format]
            except ImageError as error:
                cause = error.__cause__
                result += [error.reason, str(error.path), isinstance(cause, OSError) and cause.errno is not None]
        assert found == expected


def apart(decoder, path):
    decoder.read(path)
    return decoder.decode(path, side=16, channels=3)


def here(_decoder, path):
    return decode(read_bytes(path), path, side=16, channels=3)


def test_a_decoder_that_hangs_is_given_up(photos, bad_decoder, draw):
    path = photos / "hangs.ppm"
    draw(50).save(path)
    with path.open("ab") as file:
        file.write(b"hangs")
    decoder = IsolatedDecoder(seconds=30)
    try:
        decoder.read(str(path))  # the process is there now: starting it takes its time
        decoder._seconds = 0.3
        with pytest.raises(ImageError, match=r"the decoder did not finish within 0\.3 s$"):
            decoder.decode(str(path), side=16)
        decoder._seconds = 30
        assert apart(decoder, str(photos / "1.png")).width == 96  # a new process
    finally:
        decoder.close()


def test_a_process_that_is_killed_for_want_of_memory_is_not_held_against_the_picture(decoder, photos):
    path = str(photos / "1.png")
    decoder.read(path)
    decoder._process.kill()
    with pytest.raises(ImageError, match=r"crashed \(SIGKILL\)$") as lost:
        decoder.decode(path, side=16)
    assert isinstance(lost.value.__cause__, MemoryError)


# --- the notes ----------------------------------------------------------------------------------------------------

NOTE = """
import os, sys
from pathlib import Path
from hashae.indexer.in_flight import InFlight
notes = InFlight(Path(sys.argv[1]), 2)
with notes.note(os.fsdecode(b"/a/done.png")):
    pass
with notes.note(os.fsdecode(b"/a/raw \\xff.png")), notes.note("/a/two.png"), notes.note("/a/one too many.png"):
    os.kill(os.getpid(), 9)
"""


def test_what_was_in_flight_outlives_kill_9_and_is_forgotten_when_it_was_looked_at(tmp_path):
    db = tmp_path / "odd [name]*.db"
    assert subprocess.run([sys.executable, "-c", NOTE, db], check=False).returncode == -signal.SIGKILL
    first = InFlight(db, 2)
    assert first.suspects == {os.fsdecode(b"/a/raw \xff.png"), "/a/two.png"}
    first.close()  # stopped before it was looked at
    second = InFlight(db, 2)
    assert second.suspects == first.suspects
    second.settle()
    second.close()
    third = InFlight(db, 2)
    assert third.suspects == frozenset()
    third.close()


def test_notes_of_a_program_that_lives_are_left_alone(tmp_path):
    child = "import sys; from pathlib import Path; from hashae.indexer.in_flight import InFlight\nnotes = InFlight"
    wait = "(Path(sys.argv[1]), 1)\nwith notes.note('/a.png'): print(flush=True); sys.stdin.read()\nnotes.close()"
    command = [sys.executable, "-c", child + wait, tmp_path / "c.db"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        notes = InFlight(tmp_path / "c.db", 1)
        assert notes.suspects == frozenset()
        notes.settle()
        notes.close()
        assert len(list(tmp_path.glob("c.db.decoding-*"))) == 1
        process.communicate(b"")
    assert list(tmp_path.glob("c.db.decoding-*")) == []
