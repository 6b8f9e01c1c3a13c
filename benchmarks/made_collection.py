"""Collections of made-up codes, in seconds: no picture is read and none exists.

Half of the codes are random; half lie around one centre for every 50 of them, each some 4 bits per 64 away (Poisson),
and a tenth of all are copies of others. The seed is fixed: the same size gives the same file.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from pathlib import Path

import numpy as np
from data import encoder_file
from numpy.typing import NDArray
from PIL import Image

from hashae.codes import Codes, keys
from hashae.db import Database, open_database
from hashae.encoder import Encoder
from hashae.indexer import Collection
from hashae.indexer.band_rows import write_rows

SEED = 0


def made_codes(n: int, bits: int, seed: int = SEED) -> Codes:
    """Return ``uint8 (n, bits // 8)``: half random, half clustered, a tenth copies."""
    rng = np.random.default_rng([seed, n, bits])
    codes = rng.integers(0, 256, (n, bits // 8), dtype=np.uint8)
    centres = rng.integers(0, 256, (max(1, n // 100), bits // 8), dtype=np.uint8)
    for start in range(0, n // 2, 1 << 16):
        rows = slice(start, min(start + (1 << 16), n // 2))
        count = rows.stop - rows.start
        flips = np.packbits(rng.random((count, bits)) < 4 / 64, axis=1)
        codes[rows] = centres[rng.integers(0, len(centres), count)] ^ flips
    copies = rng.choice(n, n // 10, replace=False)
    codes[copies] = codes[rng.integers(0, n, len(copies))]
    return codes[rng.permutation(n)]


def fill(database: Database, encoder: int, codes: Codes, *, missing_every: int = 0) -> float:
    """Write an image, a code and its bands for each of `codes`, ids from 1 on; return the seconds of the bands.

    Parameters
    ----------
    database
        Open collection file without images.
    encoder
        Row id.
    codes
        ``uint8 (n, bytes)``.
    missing_every
        Every so many-th image is marked missing; 0 for none.
    """
    n = len(codes)
    rng = np.random.default_rng(SEED)
    contents, at = rng.integers(0, 256, (n, 16), dtype=np.uint8), keys(codes)
    order = np.argsort(at, kind="stable")
    with database.write() as session:
        raw = session.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.execute("INSERT INTO sources (id, collection, path) VALUES (1, 1, '/made')")
        raw.executemany(
            "INSERT INTO images (id, source, path, size, mtime_ns, content, pixels, width, height, format, missing) "
            "VALUES (?, 1, ?, ?, ?, ?, NULL, 4000, 3000, 'JPEG', ?)",
            (
                (
                    id_,
                    f"{id_ // 1000:05d}/{id_:08d}.jpg",
                    2_000_000 + id_,
                    1_700_000_000_000_000_000 + id_,
                    content,
                    gone,
                )
                for id_, content, gone in (
                    (row + 1, contents[row].tobytes(), bool(missing_every) and row % missing_every == 0)
                    for row in range(n)
                )
            ),
        )
        raw.executemany(
            'INSERT INTO codes (encoder, "key", image, code, confidence, crowding, detail) '
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (encoder, int(at[row]), row + 1, codes[row].tobytes(), 0.8125 + row % 7 / 100, 70.3, 21.7)
                for row in order.tolist()
            ),
        )
        start = time.perf_counter()
        write_rows(session, encoder)
        seconds = time.perf_counter() - start
        session.exec_driver_sql("UPDATE collections SET generation = generation + 1")
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return seconds


def drawn_picture(path: Path) -> Path:
    """Draw a picture to ask for, the same every time."""
    rng = np.random.default_rng(SEED)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(path)
    return path


def make_collection(path: Path, n: int, picture: Path, encoder_path: Path | None = None) -> None:
    """Make a collection of `n` made-up codes, among them three of `picture`, and thirty from 1 to 30 bits away."""
    encoder = Encoder.load(encoder_file(encoder_path))
    with Collection.open(path) as collection:
        collection.set_encoder(encoder)
    codes = made_codes(n, encoder.bits)
    own = encoder.encode([picture])[0]
    rng = np.random.default_rng(SEED)
    places = rng.choice(n, 33, replace=False)
    for number, place in enumerate(places.tolist()):
        flip = np.zeros(encoder.bits, np.uint8)
        flip[rng.choice(encoder.bits, max(0, number - 2), replace=False)] = 1
        codes[place] = own ^ np.packbits(flip)
    database = open_database(path)
    start = time.perf_counter()
    seconds = fill(database, 1, codes)
    database.close()
    print(f"{n:,} codes written in {time.perf_counter() - start:.1f} s, bands {seconds:.1f} s of it", file=sys.stderr)


def fill_fake(path: Path, codes: Codes) -> tuple[Database, float]:
    """Make a file whose encoder is a row only, for codes of any width; return it open, and the seconds of the bands.

    Such a file answers look-ups, but cannot encode a picture.
    """
    database = open_database(path)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO collections (id, name, created, generation) VALUES (1, 'c', 'now', 0)")
        connection.exec_driver_sql(
            "INSERT INTO encoders (id, collection, name, bits, fingerprint, info, added, weights) "
            "VALUES (1, 1, 'made', ?, 'made', '{}', 'now', x'')",
            (codes.shape[1] * 8,),
        )
    return database, fill(database, 1, codes)


def near(codes: Codes, count: int, flips: int, seed: int = SEED) -> NDArray[np.uint8]:
    """Return queries: half of them stored codes with up to `flips` bits changed, half random; in turn."""
    rng = np.random.default_rng([seed, 1])
    bits = codes.shape[1] * 8
    queries = rng.integers(0, 256, (count, codes.shape[1]), dtype=np.uint8)
    for row in range(0, count, 2):
        flip = np.zeros(bits, np.uint8)
        flip[rng.choice(bits, rng.integers(0, flips + 1), replace=False)] = 1
        queries[row] = codes[rng.integers(len(codes))] ^ np.packbits(flip)
    return queries


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="collection file to make; it must not exist")
    parser.add_argument("--size", type=int, default=1_000_000, help="number of codes (default: 1,000,000)")
    parser.add_argument("--encoder", type=Path, help="encoder of the collection; default: the shipped one")
    options = parser.parse_args()
    if options.path.exists():
        raise SystemExit(f"{options.path} exists; give the name of a new file")
    picture = drawn_picture(options.path.with_suffix(".png"))
    make_collection(options.path, options.size, picture, options.encoder)
    print(f"ask for {picture}")


if __name__ == "__main__":
    main()
