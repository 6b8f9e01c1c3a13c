"""A collection that many threads ask at once: what a server needs of it, image by image.

One connection that stays open and one index in memory answer all quick questions, one at a time; pictures are decoded
and encoded outside that lock, so that one slow file keeps nobody waiting but its own asker. The index of a large
collection follows it in the background, a few seconds behind.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from threading import BoundedSemaphore, RLock
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.codes import Codes, check_codes
from hashae.encoder import Encoder
from hashae.errors import ImageError, UnknownName
from hashae.images.decode import DecodedImage, decode, large_images_allowed, opened, read_bytes
from hashae.indexer.answer import Answer
from hashae.indexer.answer_query import Question, answer_query
from hashae.indexer.collection import Collection
from hashae.indexer.compiled import loops
from hashae.indexer.content import content_of
from hashae.indexer.facts import Fact
from hashae.indexer.following import Follower
from hashae.indexer.image_row import ImageRow
from hashae.indexer.kept_index import KEPT_FROM
from hashae.indexer.nearest import has_faiss
from hashae.object_store import is_address

CODE = "SELECT code, confidence, detail FROM codes WHERE encoder = ? AND image = ?"
PRESENT = """SELECT 1 FROM images JOIN sources ON sources.id = images.source
WHERE images.id = ? AND sources.collection = ? AND NOT images.missing"""


@dataclass(frozen=True)
class TimedAnswer:
    """An answer, and how long its parts took, in seconds.

    Attributes
    ----------
    answer
        What was found, with its explanation.
    encode
        Decoding and encoding the picture; 0 for an image whose code is stored.
    search
        All the rest.
    """

    answer: Answer
    encode: float
    search: float


@dataclass(frozen=True)
class Sight:
    """What the encoder makes of one image.

    Attributes
    ----------
    code
        ``uint8 (bits // 8,)``.
    sureness
        ``float32 (bits,)`` from 0 to 1: ``|2 * sigmoid(logit) - 1|`` of each bit.
    canonical
        ``float32 (channels, size, size)`` in [0, 1]: the picture as the network sees it.
    """

    code: Codes
    sureness: NDArray[np.float32]
    canonical: NDArray[np.float32]


class ServedCollection:
    """An open collection behind a lock.

    Parameters
    ----------
    collection
        Open; closed by its owner, after this.
    decoders
        Pictures that are decoded at the same time: each may take some hundred megabytes for a moment.
    makes
        Make the index anew when the collection has changed; else another process does, and its file is mapped. See
        :class:`hashae.indexer.following.Follower`.
    on_behind
        Called when that is due.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        decoders: int = 2,
        makes: bool = True,
        on_behind: Callable[[], None] = lambda: None,
    ) -> None:
        self.collection = collection
        self._parts = collection._parts
        self._lock = RLock()
        self._decoding = BoundedSemaphore(decoders)
        self._follower = Follower(self._parts.tables, makes=makes, on_behind=on_behind)

    def close(self) -> None:
        """Stop following the collection."""
        self._follower.close()

    def catch_up(self) -> None:
        """Answer as the collection is now, and not as it was some seconds ago, from here on."""
        if self._parts.tables.behind():
            self._parts.tables.catch_up(makes=True)

    @contextmanager
    def at_once(self) -> Iterator[bool]:
        """Tell whether a question can be answered without waiting for anything; until the end of the block it can.

        So it is where nobody else is asking, the codes are in memory, and the collection is a file: a server may be
        away for a minute.
        """
        if self._parts.database.is_server or not self._lock.acquire(blocking=False):
            yield False
            return
        try:
            encoder = self._parts.shelf.default()
            yield encoder is not None and self._parts.tables.loaded(encoder)
        finally:
            self._lock.release()

    @property
    def threads(self) -> int:
        """CPU threads of encoder and search."""
        return self._parts.threads

    def encoder(self) -> tuple[int, Encoder]:
        """Return row id and encoder in use.

        Raises
        ------
        CollectionError
            If none was set.
        """
        with self._lock:
            return self._parts.encoder.open()

    def generation(self) -> int:
        """Return the number that grows with every change of the collection."""
        return self._parts.catalogue.generation()

    def image(self, id_: int) -> ImageRow:
        """Return what is known of a present image.

        Raises
        ------
        UnknownName
            If the collection has no such image, or its file was missing when it was last looked for.
        """
        with self._lock:
            rows = self._parts.catalogue.rows([id_]) if self._is_present(id_) else {}
        if id_ not in rows:
            raise _no_image(id_)
        return rows[id_]

    def images(self, ids: list[int]) -> dict[int, ImageRow]:
        """Return what is known of those of the images that are there, by id."""
        return self._parts.catalogue.rows(ids)

    def read(self, id_: int) -> tuple[ImageRow, bytes]:
        """Return an image and the bytes of its file, which are those that were indexed.

        Raises
        ------
        UnknownName
            If there is no such image.
        ImageError
            If the file cannot be read, or is not the one that was indexed any more.
        """
        row = self.image(id_)
        _check_regular(row.path)
        data = read_bytes(row.path)
        if content_of(data) != row.content:
            raise ImageError(row.path, "has changed since it was indexed; index it again")
        return row, data

    def stored_code(self, id_: int) -> tuple[Codes, Fact]:
        """Return the code of an image, ``uint8 (bits // 8,)``, and what is known of it.

        Raises
        ------
        UnknownName
            If the collection has no such image, or no code of it by the encoder in use.
        """
        with self._lock:
            present = self._is_present(id_)
            found = self._parts.database.look_up(CODE, (self._parts.encoder.open()[0], id_)) if present else []
        if not present:
            raise _no_image(id_)
        if not found:
            raise UnknownName(f"image {id_} has no code of the encoder in use; index the collection again")
        code, confidence, detail = found[0]
        return np.frombuffer(code, np.uint8), Fact(confidence, detail)

    def ask(self, id_: int, question: Question) -> TimedAnswer:
        """Ask about an image of the collection.

        Raises
        ------
        UnknownName
            As :meth:`stored_code`.
        ConfigError
            If a number of the question is out of range.
        """
        start = perf_counter()
        with self._lock:
            code, fact = self.stored_code(id_)
            answer = answer_query(self._parts, self._parts.encoder.open(), code, fact, question, explain=True)
        return TimedAnswer(answer, 0.0, perf_counter() - start)

    def ask_code(self, code: Codes, question: Question) -> TimedAnswer:
        """Ask about a code, ``uint8 (bits // 8,)``, made by the encoder in use; what else is known of it stays unknown.

        Raises
        ------
        CodeError
            If it has another width.
        ConfigError
            If a number of the question is out of range.
        """
        start = perf_counter()
        with self._lock:
            encoder = self._parts.encoder.open()
            code = check_codes(code[None], encoder[1].bits)[0]
            answer = answer_query(self._parts, encoder, code, Fact(1.0, None), question, explain=True)
        return TimedAnswer(answer, 0.0, perf_counter() - start)

    def ask_bytes(self, data: bytes, name: str, question: Question, *, max_pixels: int) -> TimedAnswer:
        """Ask about a picture held in memory.

        Parameters
        ----------
        data
            The bytes of an image file.
        name
            Named in errors; nothing is read from it.
        question
            What is asked.
        max_pixels
            Largest width x height.

        Raises
        ------
        ImageError
            If the bytes are no image, or one with too many pixels.
        ConfigError
            If a number of the question is out of range.
        """
        start = perf_counter()
        encoder = self.encoder()
        encoded = encoder[1].encode_thumbs(self._decode(data, name, encoder[1], max_pixels).thumb[None])
        middle = perf_counter()
        fact = Fact(float(encoded.confidence[0]), float(encoded.detail[0]))
        with self._lock:
            answer = answer_query(self._parts, encoder, encoded.codes[0], fact, question, explain=True)
        return TimedAnswer(answer, middle - start, perf_counter() - middle)

    def look_up(self, codes: Codes) -> list[list[int]]:
        """Return for each of some codes the ids of the images that have it; see :meth:`Collection.exact_many`."""
        with self._lock:
            return self.collection.exact_many(codes)

    def sight(self, id_: int) -> Sight:
        """Return what the encoder makes of an image; its file is read and encoded again.

        Raises
        ------
        UnknownName, ImageError
            As :meth:`read`.
        """
        encoder = self.encoder()[1]
        row, data = self.read(id_)
        thumb = self._decode(data, row.path, encoder, None).thumb[None]
        logits = encoder.logits(thumb)[0]
        sureness: NDArray[np.float32] = np.abs(np.tanh(logits / 2))
        return Sight(np.packbits(logits > 0), sureness, encoder.form(thumb)[0])

    def decode(self, codes: Codes) -> NDArray[np.float32]:
        """Return the pictures that codes stand for, see :meth:`hashae.encoder.Encoder.decode`."""
        with self._lock:
            return self._parts.encoder.open()[1].decode(codes)

    def codes(self) -> tuple[NDArray[np.int64], Codes, int]:
        """Return ids ``int64 (n,)``, codes ``uint8 (n, bytes)`` of all present images, and the generation they are of.

        Raises
        ------
        CollectionError
            If there is no encoder.
        """
        with self._lock:
            table = self._parts.table()[2]
            return table.index.ids, table.index.codes, table.generation

    def stats(self) -> dict[str, Any]:
        """Return counts and sizes, see :meth:`Collection.stats`."""
        with self._lock:
            return self.collection.stats()

    def warm(self) -> None:
        """Load encoder and codes into memory, so that the first question is as quick as the next."""
        if has_faiss():
            import_module("faiss")  # a server lasts: the planner is not to ask whether one search is worth loading it
        with self._lock:
            if self.collection.has_encoder and len(self.collection):
                encoder_id, encoder, table = self._parts.table()
                if len(table.index) >= KEPT_FROM:  # for fewer codes no loop is worth its compiler
                    for name in ("flat_kernels", "multi_kernels"):
                        loops(name)
                code = table.index.codes[0]
                question = Question(k=1)
                encoder.encode_thumbs(
                    np.zeros((1, encoder.form.channels, encoder.form.thumb, encoder.form.thumb), np.uint8)
                )
                answer_query(self._parts, (encoder_id, encoder), code, Fact(1.0, None), question, explain=True)

    def _is_present(self, id_: int) -> bool:
        return 0 < id_ < 1 << 63 and bool(self._parts.database.look_up(PRESENT, (id_, self._parts.id)))

    def _decode(self, data: bytes, name: str, encoder: Encoder, max_pixels: int | None) -> DecodedImage:
        with self._decoding, large_images_allowed():
            if max_pixels is not None:
                with opened(data, name) as image:
                    if image.width * image.height > max_pixels:
                        raise ImageError(
                            name, f"{image.width} x {image.height} pixels; the limit is {max_pixels:,} in all"
                        )
            return decode(data, name, side=encoder.form.thumb, channels=encoder.form.channels)


def _no_image(id_: int) -> UnknownName:
    return UnknownName(f"there is no image {id_} in the collection")


def _check_regular(path: str) -> None:
    """Refuse what is no regular file any more: opening a FIFO would wait for ever."""
    if is_address(path):
        return
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from error
    if not regular:
        raise ImageError(path, "is no regular file any more")
