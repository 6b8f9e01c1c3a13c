"""The contact sheet of a query."""

import base64
import os
import re
from pathlib import Path

import pytest

from hashae.errors import ConfigError, ImageError
from hashae.indexer import answer_page
from hashae.indexer.answer import Answer, ImageMatch
from hashae.indexer.answer_page import write_contact_sheet

JPEG = b"\xff\xd8 not really a picture"
SOURCE = "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()


def match(id_, path=None, **more):
    return ImageMatch(id_, path or f"/photos/{id_}.jpg", 3 * id_, 2_500_000, 640, 480, "JPEG", 0.75, False, **more)


@pytest.fixture
def sheet(tmp_path):
    def write(*matches, thumbnail=lambda path, side: JPEG, **more):
        answer = Answer(matches, 256, "00" * 32, 0.5, **more)
        write_contact_sheet(answer, Path("/asked/beach.jpg"), tmp_path / "answers.html", thumbnail)
        return (tmp_path / "answers.html").read_text("utf-8")

    return write


def test_sheet_shows_the_picture_that_asks_and_all_answers(sheet):
    page = sheet(match(1, allowed=20.25), match(2, mirrored=True), match(3, view="turned"), rule="own radius")
    assert page.count(SOURCE) == 4
    words = " ".join(re.sub("<[^>]+>", " ", page.split("</style>")[1]).split())
    assert "3 pictures found own radius" in words
    assert "9 of 256 bits differ turned" in words
    assert "3 of 256 bits differ at most 20.2 for a match" in words
    assert "6 of 256 bits differ the mirror image" in words
    assert "640 × 480, JPEG, 2.5\u00a0MB" in page
    assert "confidence 0.50" in words
    assert page.index("beach.jpg</bdi>") < page.index("1.jpg</bdi>") < page.index("2.jpg</bdi>")


def test_sheet_without_answers_says_so(sheet):
    page = sheet(featureless=True)
    assert "No match" in page
    assert "There is next to nothing to see in it" in page


def test_sheet_is_bounded(sheet, monkeypatch):
    monkeypatch.setattr(answer_page, "SHEET_IMAGES", 2)
    page = sheet(*(match(number) for number in range(1, 6)))
    assert page.count(SOURCE) == 3
    assert "and 3 more pictures; query --json tells all." in page


def test_a_picture_that_cannot_be_read_leaves_a_box(sheet):
    def unreadable(path, side):
        raise ImageError(path, "truncated file")

    page = sheet(match(1), thumbnail=unreadable)
    assert page.count("No preview: the file is gone or cannot be read") == 2


def test_names_are_text_and_no_other_host_is_asked(sheet):
    page = sheet(
        match(1, "/photos/<img src=x onerror=alert(1)>.jpg"),
        match(2, "/photos/</style><script>.jpg"),
        match(3, "/photos/gpj\u202egnp.exe"),
        match(4, os.fsdecode(b"/photos/caf\xe9.jpg")),
    )
    assert "<img src=x" not in page
    assert page.count("<script") == 1
    assert page.count("</style>") == 1
    assert "gpj\\u202egnp.exe" in page
    assert "\u202e" not in page
    assert "caf\\udce9.jpg" in page
    assert not re.search(r"https?:|@import", page)


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match="does not exist; create it first"):
        write_contact_sheet(
            Answer((), 256, "", 0.5), Path("a.jpg"), tmp_path / "no" / "a.html", lambda path, side: None
        )
