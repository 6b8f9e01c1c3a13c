"""Hostile input of every kind, made from good ones: an input is a target and a number, and is the same for ever.

``fuzzing.py`` feeds them to what reads them; `TARGETS` says who that is.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import random
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, features

from hashae.db.salvage import integrity, readable, salvage
from hashae.encoder import Encoder
from hashae.errors import HashaeError, ImageError
from hashae.images.decode import decode, large_images_allowed, pixel_hash, thumbnail
from hashae.images.raw import is_readable
from hashae.indexer import Collection
from hashae.indexer.plan import read_plan
from hashae.indexer.verdict_file import read_verdicts


def loaded(path):
    """Return the module in a file."""
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- bytes --------------------------------------------------------------------------------------------------------

LENGTHS = [0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]


def changed(data, rng, others=()):
    """Return bytes made from `data` by one to six changes; of `others` pieces may be taken."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if not made:
            break
        # Half of the changes fall into the first bytes: that is where headers are.
        place = rng.randrange(min(len(made), 64)) if rng.random() < 0.5 else rng.randrange(len(made))
        kind, length = rng.randrange(9), rng.randrange(1, 64)
        if kind == 0:
            del made[place : place + length]
        elif kind == 1:
            made[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            made[place : place + rng.randrange(1, 5)] = bytes([rng.randrange(256)]) * 4
        elif kind == 3:
            made[place:place] = made[place : place + length]
        elif kind == 4:
            other = rng.randrange(len(made))
            made[place], made[other] = made[other], made[place]
        elif kind == 5:
            packed = struct.pack(rng.choice((">I", "<I")), rng.choice(LENGTHS))
            made[place : place + 4] = packed
        elif kind == 6:
            made[place : place + 2] = struct.pack(rng.choice((">H", "<H")), rng.choice(LENGTHS) % 65536)
        elif kind == 7:
            del made[place:]
        elif others:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            made[place : place + length] = other[start : start + length]
    return bytes(made)


# --- pictures -----------------------------------------------------------------------------------------------------


def _pictures():
    """Return name -> file: every format, in as many of its forms as Pillow can write."""
    base = (np.arange(20 * 24 * 4) * 7 % 251).astype(np.uint8).reshape(20, 24, 4)
    rgba = Image.fromarray(base)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 251)
    turned = Image.Exif()
    turned[0x0112], turned[0x010F] = 6, "a camera"
    more = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    forms = {
        "PNG": [(rgb, {}), (rgba, {}), (rgb.quantize(9), {"transparency": 3}), (deep, {}), (grey.convert("1"), {})],
        "JPEG": [(rgb, {"exif": turned}), (grey, {}), (rgb.convert("CMYK"), {}), (rgb, {"progressive": True})],
        "GIF": [(rgb.quantize(16), {}), (rgb, more), (grey, {"interlace": 1})],
        "BMP": [(rgb, {}), (rgb.quantize(16), {}), (grey.convert("1"), {})],
        "TIFF": [
            *((rgb, {"compression": name}) for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
            *((deep, {}), (rgba, {"exif": turned}), (grey.convert("1"), {"compression": "group4"}), (rgb, more)),
            (Image.fromarray(np.asarray(grey).astype(np.float32)), {}),
        ],
        "WEBP": [(rgb, {}), (rgba, {"lossless": True, "exif": turned}), (rgb, more)],
        "PPM": [(rgb, {}), (grey, {}), (grey.convert("1"), {}), (deep, {})],
        "TGA": [(rgb, {"compression": "tga_rle"}), (rgba, {}), (rgb.quantize(8), {})],
        "ICO": [(rgba, {}), (rgba, {"bitmap_format": "bmp"})],
        "JPEG2000": [(rgb, {}), (rgba, {"irreversible": True}), (deep, {})],
        "AVIF": [(rgb, {}), (rgba, {})],
        "MPO": [(rgb, more)],
    }
    if not features.check("avif"):
        del forms["AVIF"]
    if not features.check("jpg_2000"):
        del forms["JPEG2000"]
    found = {}
    for name, listed in forms.items():
        found[name] = []
        for picture, settings in listed:
            data = io.BytesIO()
            picture.save(data, name, **settings)
            found[name].append(data.getvalue())
    return found


def _raw():
    """Return two DNG files, one with the camera turned; nothing where they cannot be read."""
    if not is_readable():
        return {}
    path = Path(__file__).parents[1] / "unit" / "dng.py"
    preview = io.BytesIO()
    Image.fromarray((np.arange(20 * 24 * 3) % 251).astype(np.uint8).reshape(20, 24, 3)).save(preview, "JPEG")
    values = np.arange(32 * 32).astype(np.uint16).reshape(32, 32)
    write = loaded(path).dng
    return {"RAW": [write(preview.getvalue(), (24, 20), values, orientation=turn) for turn in (1, 6)]}


PICTURES = _pictures() | _raw()
EVERY_PICTURE = [data for listed in PICTURES.values() for data in listed]


def picture(name, rng):
    made = changed(rng.choice(PICTURES[name]), rng, EVERY_PICTURE)
    return with_checksums(made) if name == "PNG" and rng.random() < 0.7 else made


def with_checksums(data):
    """Return a PNG with the checksums that belong to its chunks: else hardly a change would get past them."""
    made, at = bytearray(data), 8
    while at + 12 <= len(made):
        (length,) = struct.unpack_from(">I", made, at)
        end = at + 8 + length
        if end + 4 > len(made):
            break
        struct.pack_into(">I", made, end, zlib.crc32(made[at + 4 : end]))
        at = end + 4
    return bytes(made)


def use_raw(data, folder):
    return use_picture(data, folder, "x.dng")


def use_picture(data, _folder, name="x"):
    """Decode it in the three ways there are; tell how many of them worked."""
    worked = 0
    with large_images_allowed():
        for read in (lambda *what: decode(*what, side=16), pixel_hash, thumbnail):
            try:
                read(data, name)
                worked += 1
            except ImageError as error:
                one_line(error)
    return worked > 0


def one_line(error):
    """A message that is missing or has lines would spoil the one that the command line prints."""
    assert str(error), f"{type(error).__name__} without a word"
    assert "\n" not in str(error), f"more than a line: {error!r}"


# --- encoders -----------------------------------------------------------------------------------------------------


class Good:
    """What is good, made when it is first asked for."""

    def __init__(self):
        self._made = {}

    def encoder(self):
        module = Path(__file__).parents[1] / "integration" / "conftest.py"
        return self._once("encoder", lambda: loaded(module).build_encoder(bits=64, size=16))

    def collection(self, folder):
        """Return the bytes of a collection of eight pictures, which stay in `folder`, with a verdict."""
        return self._once("collection", lambda: self._collection(folder))

    def _once(self, name, make):
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _collection(self, folder):
        photos, path = folder / "photos", folder / "whole.db"
        photos.mkdir(parents=True)
        for number in range(8):
            levels = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
            Image.fromarray(levels).resize((48, 36)).save(photos / f"{number}.png")
        with Collection.open(path, threads=1) as collection:
            collection.set_encoder(self.encoder())
            collection.index(photos)
            collection.verdicts.judge("distinct", sorted(photos.iterdir())[:2])
        return path.read_bytes()


GOOD = Good()


def encoder(rng):
    return changed(GOOD.encoder().data, rng)


def use_encoder(data, _folder):
    try:
        opened = Encoder(data, threads=1)
    except HashaeError as error:
        one_line(error)
        return False
    assert 8 <= opened.bits <= 512, opened.bits
    assert opened.form.thumb <= 2048, opened.form.thumb
    return True


# --- plans and verdicts -------------------------------------------------------------------------------------------

NUMBERS = ("11" * 16, "22" * 16, "33" * 16)


def _action(number):
    keeper = {"path": f"/p/keep/{number}.jpg", "content": NUMBERS[number % 3], "reason": "most pixels"}
    head = {"group": number, "tier": ("bytes", "pixels", "code", "near")[number % 4], "reason": "the same file"}
    return {**head, "path": f"/p/{number}.jpg", "content": NUMBERS[number % 3], "size": 10 + number, "keeper": keeper}


DOCUMENTS = {
    "plan": {
        **{"hashae": "plan", "schema": 1, "note": "a note", "created": "2026-01-31T12:00:00Z", "collection": "/p/c.db"},
        **{"keep_rules": ["pixels", "format"], "protect": ["/p/keep"], "actions": [_action(n) for n in range(3)]},
    },
    "verdicts": {
        **{"hashae": "verdicts", "schema": 1},
        "verdicts": [
            {
                **{"verdict": kind, "made": "2026-01-31T12:00:00Z"},
                "pictures": [{"content": number, "path": f"/p/{number}.jpg"} for number in NUMBERS[:count]],
            }
            for kind, count in (("keep", 1), ("distinct", 2), ("ignore", 3))
        ],
    },
}
LEAVES = [
    *(None, True, False, 0, -1, 1, 2**63, -(2**63) - 1, 10**400, 0.5, float("nan"), float("inf"), "", "\0", "a\nb"),
    *("/", "relative", "/\udcff.jpg", "/\ud800.jpg", "x" * 5000, "11" * 16, "zz" * 16, "keep", "bytes", "plan"),
    *([], {}, [[]], [{}], {"path": "/p"}, [1, "2"], "2026-01-31T12:00:00Z", "9999-99-99T99:99:99Z", "１１" * 16),
]


def document(kind, rng):
    """A document in which some values are others, are missing, are there twice or stand elsewhere."""
    value = copy.deepcopy(DOCUMENTS[kind])
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        holder, key = rng.choice(list(_places(value)))
        what = rng.randrange(5)
        if what == 0:
            del holder[key]
        elif what == 1:
            holder[key] = copy.deepcopy(rng.choice(list(_places(DOCUMENTS[kind])))[0])
        elif what == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif what == 3:
            holder[key] = [holder[key]] if rng.random() < 0.5 else {"path": holder[key]}
        else:
            holder[key] = copy.deepcopy(rng.choice(LEAVES))
        if not list(_places(value)):
            break
    if rng.random() < 0.02:
        deep = rng.choice((100, 1000, 100_000))
        return b"[" * deep + json.dumps(value).encode() + b"]" * deep
    data = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return changed(data, rng) if rng.random() < 0.3 else data


def _places(value):
    """Yield every place in a document as its holder and key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def use_document(read):
    def use(data, folder):
        path = folder / "document.json"
        path.write_bytes(data)
        try:
            read(path)
        except HashaeError as error:
            one_line(error)
            return False
        return True

    return use


# --- collections --------------------------------------------------------------------------------------------------


def collection(rng, folder):
    """A collection file of which some stretches are overwritten or pages are swapped, or that is cut off."""
    made = bytearray(GOOD.collection(folder))
    size, page = len(made), 4096
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, length = rng.randrange(100, size), rng.choice((1, 2, 4, 50, 300, page))
        kind = rng.randrange(4)
        if kind == 0:
            made[at : at + length] = bytes([rng.randrange(256)]) * len(made[at : at + length])
        elif kind == 1:
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            one, other = (rng.randrange(1, size // page) * page for _ in range(2))
            made[one : one + page], made[other : other + page] = made[other : other + page], made[one : one + page]
        else:
            start = at // page * page  # the head of a page: its kind, its cells and where they are
            place = start + rng.randrange(12)
            made[place] = rng.randrange(256)
    return bytes(made[: rng.randrange(size)] if rng.random() < 0.1 else made)


def use_collection(data, folder):
    """Ask it everything, then repair it; every error has to be one of ours."""
    photos, path = folder / "photos", folder / "photos.db"
    worked = 0
    for ask in (ask_everything, repair_everything):
        for old in folder.glob("photos.db*"):
            old.unlink()
        path.write_bytes(data)
        try:
            ask(path, photos)
            worked += 1
        except HashaeError as error:
            one_line(error)
    return worked == 2


def ask_everything(path, folder):
    with Collection.open(path, create=False, threads=1) as opened:
        opened.stats()
        opened.query(folder / "1.png", k=3)
        opened.verdicts.all()
        opened.dedup(radius=1)
        opened.verify(sample=2)


def repair_everything(path, _folder):
    if integrity(path):
        readable(path)
        salvage(path)
    with Collection.open(path, create=False, threads=1) as opened:
        opened.repair(opened.verify(sample=2))


# --- all of them --------------------------------------------------------------------------------------------------


class Target:
    """What is fuzzed.

    Parameters
    ----------
    make
        Called with a generator and a folder; returns an input.
    use
        Called with an input and the folder; tells whether it was taken for good, and raises nothing.
    share
        Part of all inputs.
    """

    def __init__(self, make, use, share):
        self.make, self.use, self.share = make, use, share

    def input(self, name, number, folder):
        return self.make(random.Random(f"{name} {number}"), folder)


TARGETS = {
    **{
        name: Target(
            lambda rng, _folder, name=name: picture(name, rng),
            use_raw if name == "RAW" else use_picture,
            0.80 / len(PICTURES),
        )
        for name in PICTURES
    },
    "encoder": Target(lambda rng, _folder: encoder(rng), use_encoder, 0.04),
    "plan": Target(lambda rng, _folder: document("plan", rng), use_document(read_plan), 0.075),
    "verdicts": Target(lambda rng, _folder: document("verdicts", rng), use_document(read_verdicts), 0.075),
    "collection": Target(collection, use_collection, 0.003),
}
