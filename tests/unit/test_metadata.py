"""What is read beside the pixels: date, position, rating; and that damage is an error, not a crash."""

import pytest
from PIL import Image, TiffImagePlugin

from hashae.errors import ImageError
from hashae.images.metadata import Metadata, read_metadata

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" %s</x:xmpmeta>'


@pytest.fixture
def save(tmp_path, picture):
    def write(name="a.jpg", camera=(), gps=(), main=(), **options):
        exif = Image.Exif()
        exif.update(dict(main))
        exif.get_ifd(0x8769).update(dict(camera))
        exif.get_ifd(0x8825).update(dict(gps))
        picture.save(tmp_path / name, exif=exif, **options)
        return read_metadata(tmp_path / name)

    return write


GPS = {1: "N", 2: (48.0, 8.0, 0.0), 3: "E", 4: (11.0, 34.0, 0.0)}


def test_a_picture_without_metadata_says_nothing(save, picture, tmp_path):
    picture.save(tmp_path / "plain.png")
    assert read_metadata(tmp_path / "plain.png") == Metadata()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_date_position_and_rating_are_read_from_exif(save, name):
    found = save(name, {0x9003: "2009:07:04 11:22:33"}, GPS, {0x4746: 4, 0x010F: "Maker"})
    assert found == Metadata(fields=7, gps=True, rating=4, taken="2009-07-04T11:22:33")


def test_the_date_of_scanning_stands_in_for_that_of_the_shutter_and_the_last_edit_does_not(save):
    assert save(camera={0x9004: "2001:02:03 04:05:06"}).taken == "2001-02-03T04:05:06"
    assert save(camera={0x9003: "2000:01:01 00:00:00", 0x9004: "2001:02:03 04:05:06"}).taken == "2000-01-01T00:00:00"
    assert not save(main={0x0132: "2001:02:03 04:05:06"}).taken


@pytest.mark.parametrize("text", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", "2001:13:03 04:05:06"])
def test_a_date_that_is_none_counts_as_missing(save, text):
    assert not save(camera={0x9003: text}).taken


def test_half_a_position_is_none(save):
    assert not save(gps={1: "N", 2: (48.0, 8.0, 0.0)}).gps


@pytest.mark.parametrize(
    ("text", "stars"),
    [
        (b'xmp:Rating="5"/>', 5),
        (b"><xmp:Rating>3</xmp:Rating>", 3),
        (b'xmp:Rating="-1"/>', 0),
        (b'xmp:Rating="9"/>', 0),
    ],
)
def test_stars_are_read_from_xmp(save, text, stars):
    assert save(xmp=XMP % text).rating == stars


def test_blank_fields_and_pointers_do_not_count(save):
    assert save(
        main={0x010F: "  ", 0x0112: 6}, camera={0x9286: b"\0\0", 0x829A: TiffImagePlugin.IFDRational(1, 60)}
    ) == (Metadata(fields=1))


def test_what_is_no_picture_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"text")
    with pytest.raises(ImageError, match="not an image"):
        read_metadata(tmp_path / "a.jpg")
