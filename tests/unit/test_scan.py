"""Scanning a folder: the order, what is skipped, what is reported, and the sentences of `SourceError`."""

from __future__ import annotations

import os
import re
import socket

import numpy as np
import pytest

from hashae.errors import SourceError
from hashae.images.canonical import CanonicalForm
from hashae.images.scan import EXTENSIONS, scan
from hashae.training.dataset import load_training_images


def raises_sentence(sentence):
    return pytest.raises(SourceError, match=f"^{re.escape(sentence)}$")


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(folder):
    return [found.relative for found in scan(folder)]


def names_and_problems(folder):
    problems = []
    return [found.relative for found in scan(folder, problems.append)], problems


def test_files_come_sorted_and_folder_by_folder(tmp_path):
    touch(tmp_path, "b.jpg", "a.png", "z/2.png", "z/1.png", "m/x.gif", "m/deep/y.bmp", "c.webp")
    expected = ["a.png", "b.jpg", "c.webp", "m/x.gif", "m/deep/y.bmp", "z/1.png", "z/2.png"]
    assert names(tmp_path) == expected
    assert names(tmp_path) == expected


def test_order_does_not_depend_on_what_the_file_system_returns(tmp_path, monkeypatch):
    touch(tmp_path, "b.jpg", "a.jpg", "c/d.jpg", "c/a.jpg")
    expected = names(tmp_path)
    listed = os.scandir

    class Reversed:
        def __init__(self, path):
            self.inner = listed(path)

        def __enter__(self):
            return iter(list(self.inner)[::-1])

        def __exit__(self, *_):
            self.inner.close()

    monkeypatch.setattr(os, "scandir", Reversed)
    assert names(tmp_path) == expected


def test_a_found_file_carries_path_size_and_time(tmp_path):
    touch(tmp_path, "sub/a.jpg")
    (found,) = scan(tmp_path)
    status = (tmp_path / "sub" / "a.jpg").stat()
    assert found.path == str(tmp_path / "sub" / "a.jpg")
    assert (found.size, found.mtime_ns) == (1, status.st_mtime_ns)


def test_paths_are_absolute_also_for_a_relative_folder(tmp_path, monkeypatch):
    touch(tmp_path, "pictures/a.jpg")
    monkeypatch.chdir(tmp_path)
    (found,) = scan("pictures")
    assert found.path == str(tmp_path / "pictures" / "a.jpg")


@pytest.mark.parametrize("ending", sorted(EXTENSIONS))
def test_each_known_ending_is_found_in_either_case(tmp_path, ending):
    touch(tmp_path, f"one{ending}", f"two{ending.upper()}")
    assert names(tmp_path) == [f"one{ending}", f"two{ending.upper()}"]


def test_other_endings_are_no_pictures(tmp_path):
    touch(tmp_path, "notes.txt", "movie.mp4", "jpg", "a.jpg.bak", "a.jpg")
    assert names(tmp_path) == ["a.jpg"]


def test_hidden_files_and_folders_are_skipped(tmp_path):
    touch(tmp_path, ".hidden.jpg", ".cache/a.jpg", "seen/.git/b.jpg", "seen/c.jpg")
    assert names_and_problems(tmp_path) == (["seen/c.jpg"], [])


def test_a_hidden_root_is_scanned_because_it_was_named(tmp_path):
    touch(tmp_path, ".photos/a.jpg")
    assert names(tmp_path / ".photos") == ["a.jpg"]


def test_a_folder_whose_name_says_picture_is_entered(tmp_path):
    touch(tmp_path, "album.jpg/inside.png")
    assert names(tmp_path) == ["album.jpg/inside.png"]


def test_a_loop_of_links_is_cut(tmp_path):
    touch(tmp_path, "a/b/picture.jpg")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a", target_is_directory=True)
    assert names(tmp_path) == ["a/b/picture.jpg"]


def test_two_links_to_one_folder_are_entered_once(tmp_path):
    touch(tmp_path, "outside/a.jpg")
    root = tmp_path / "root"
    root.mkdir()
    (root / "first").symlink_to(tmp_path / "outside", target_is_directory=True)
    (root / "second").symlink_to(tmp_path / "outside", target_is_directory=True)
    assert names(root) == ["first/a.jpg"]


def test_a_link_to_a_file_inside_the_tree_is_not_a_second_picture(tmp_path):
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "again.jpg").symlink_to(tmp_path / "real" / "a.jpg")
    assert names_and_problems(tmp_path) == (["real/a.jpg"], [])


def test_a_link_to_a_file_that_no_scan_would_find_is_followed(tmp_path):
    touch(tmp_path, "outside.jpg", "root/.store/hidden.jpg", "root/blob")
    (tmp_path / "root" / "a.jpg").symlink_to(tmp_path / "outside.jpg")
    (tmp_path / "root" / "b.jpg").symlink_to(tmp_path / "root" / ".store" / "hidden.jpg")
    (tmp_path / "root" / "c.jpg").symlink_to(tmp_path / "root" / "blob")
    assert names(tmp_path / "root") == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_folder_whose_name_begins_like_the_root_is_outside(tmp_path):
    touch(tmp_path, "root/own.jpg", "root2/other.jpg")
    (tmp_path / "root" / "link.jpg").symlink_to(tmp_path / "root2" / "other.jpg")
    assert names(tmp_path / "root") == ["link.jpg", "own.jpg"]


def test_broken_links_are_reported(tmp_path):
    touch(tmp_path, "good.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "ring.png").symlink_to(tmp_path / "ring.png")
    found, problems = names_and_problems(tmp_path)
    assert found == ["good.jpg"]
    assert [(problem.relative, problem.reason) for problem in problems] == [
        ("gone.jpg", "broken link"),
        ("ring.png", "broken link"),
    ]
    assert problems[0].path == str(tmp_path / "gone.jpg")


def test_problems_may_be_ignored(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_listed_is_reported_and_passed(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.jpg", "locked/2.jpg", "z/3.jpg")
    listed = os.scandir

    def refusing(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found, problems = names_and_problems(tmp_path)
    assert found == ["a/1.jpg", "z/3.jpg"]
    assert [(problem.relative, problem.reason) for problem in problems] == [
        ("locked", "folder cannot be listed (Permission denied)")
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_named_like_a_picture_is_reported_and_not_opened(tmp_path):
    touch(tmp_path, "good.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "other")
    found, problems = names_and_problems(tmp_path)
    assert found == ["good.jpg"]
    assert [(problem.relative, problem.reason) for problem in problems] == [
        ("pipe.jpg", "not a regular file (a pipe, socket or device)")
    ]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets here")
def test_a_socket_named_like_a_picture_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.jpg")
        assert [problem.relative for problem in names_and_problems(tmp_path)[1]] == ["s.jpg"]


def test_names_with_spaces_signs_and_other_scripts(tmp_path):
    odd = ["a b.jpg", "día de \U0001f408.png", "line\nbreak.gif", "quote'\".bmp", "東京.webp"]
    touch(tmp_path, *odd)
    found, problems = names_and_problems(tmp_path)
    assert found == sorted(odd)
    assert problems == []


def test_a_name_that_is_not_unicode_is_found_and_can_be_opened(tmp_path):
    raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    try:
        with open(raw, "wb") as file:
            file.write(b"x")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (found,) = scan(tmp_path)
    assert os.fsencode(found.path) == raw
    with open(found.path, "rb") as file:
        assert file.read() == b"x"


def test_an_empty_folder_holds_no_pictures(tmp_path):
    assert names_and_problems(tmp_path) == ([], [])


def test_a_missing_folder_is_named(tmp_path):
    missing = tmp_path / "nowhere"
    with raises_sentence(f"{missing} does not exist; expected a folder of pictures"):
        list(scan(missing))


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    touch(tmp_path, "a.jpg")
    with raises_sentence(f"{tmp_path / 'a.jpg'} is a file; expected a folder of pictures"):
        list(scan(tmp_path / "a.jpg"))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            PermissionError(13, "Permission denied"),
            "cannot be listed (permission denied); allow reading or choose another",
        ),
        (OSError(5, "Input/output error"), "cannot be listed (Input/output error)"),
    ],
)
def test_a_root_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch, error, sentence):
    def refusing(_path):
        raise error

    monkeypatch.setattr(os, "scandir", refusing)
    with raises_sentence(f"{tmp_path} {sentence}"):
        list(scan(tmp_path))


def test_an_empty_folder_cannot_be_learned_from(tmp_path):
    sentence = (
        f"{tmp_path} holds 0 readable pictures; learning a code needs at least 2: add pictures or use a trained encoder"
    )
    with raises_sentence(sentence):
        load_training_images(tmp_path, CanonicalForm.preset("photo", 8))


def test_a_large_folder_is_listed_in_order(tmp_path):
    order = np.random.default_rng(0).permutation(300)
    touch(tmp_path, *(f"{i:03d}.jpg" for i in order))
    assert names(tmp_path) == [f"{i:03d}.jpg" for i in range(300)]
