"""The answers to a query as one HTML page: a contact sheet that needs no other file and no network."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hashae.indexer.answer import Answer
from hashae.indexer.new_file import replacing
from hashae.indexer.page_text import template
from hashae.indexer.report_page import LARGE_SIDE, Thumbnail
from hashae.object_store import is_address

SHEET_IMAGES = 1_000
"""Answers on the page, the nearest: some 10 kB each; ``query --json`` tells all."""


def write_contact_sheet(
    answer: Answer, image: str | Path, path: Path, thumbnail: Thumbnail, *, threads: int = 1
) -> None:
    """Write the answers to a query, nearest first, with the picture that asks at the head.

    Parameters
    ----------
    answer
        What was found.
    image
        Picture that asks.
    path
        File to write; an older file is replaced only when the new one is complete.
    thumbnail
        Called with path and side of each image that is shown, from `threads` threads. An `OSError`, and so an
        `ImageError`, counts as None.
    threads
        That make thumbnails.

    Raises
    ------
    ConfigError
        If the folder of `path` does not exist, or `path` is not a file.
    HashaeError
        If the file cannot be written.
    """

    def source(name: str) -> str | None:
        try:
            data = thumbnail(name, LARGE_SIDE)
        except OSError:
            # one bad picture must not cost the page, which says that there is nothing to show
            return None
        return None if data is None else "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")

    shown = answer.matches[:SHEET_IMAGES]
    asked = str(image) if is_address(image) else str(Path(image).absolute())
    with ThreadPoolExecutor(threads) as pool, replacing(path) as file:
        pictures = pool.map(source, [asked, *(match.path for match in shown)])
        pieces = template("answers.html.j2").generate(
            answer=answer,
            image=asked,
            own=next(pictures),
            shown=zip(shown, pictures, strict=True),
            left=len(answer.matches) - len(shown),
        )
        for piece in pieces:
            file.write(piece)
