"""The encoder of a collection: stored in its file, opened once."""

from __future__ import annotations

from hashae.encoder import Encoder
from hashae.errors import CollectionError
from hashae.indexer.shelf import NewEncoder, Shelf
from hashae.place import Place


class OwnEncoder:
    """The encoder in use.

    Parameters
    ----------
    shelf
        Of the collection.
    path
        Of the collection, for messages.
    threads
        CPU threads of the network.
    """

    def __init__(self, shelf: Shelf, path: Place, *, threads: int) -> None:
        self._shelf, self._path, self._threads = shelf, path, threads
        self._opened: tuple[int, Encoder] | None = None

    def open(self) -> tuple[int, Encoder]:
        """Return row id and encoder.

        Raises
        ------
        CollectionError
            If none was set.
        """
        id_ = self._shelf.default()
        if id_ is None:
            raise CollectionError(
                f"{self._path} has no encoder yet; run: hashae index FOLDER, or give one with --encoder FILE"
            )
        return self._load(id_)

    def for_indexing(self) -> tuple[int, Encoder]:
        """Return row id and encoder that new codes are made with: the one that is to follow, else the one in use.

        Raises
        ------
        CollectionError
            If none was set.
        """
        following = self._shelf.next()
        return self.open() if following is None else self._load(following)

    def set(self, encoder: Encoder, when: str) -> None:
        """Store an encoder and make it the one in use."""
        self._shelf.use(_stored(encoder), when)
        self._opened = None

    def let_follow(self, encoder: Encoder, when: str) -> None:
        """Store an encoder beside the one in use; it takes its place when it has encoded every image."""
        self._shelf.stage(_stored(encoder), when)

    def _load(self, id_: int) -> tuple[int, Encoder]:
        if self._opened is None or self._opened[0] != id_:
            stored = self._shelf.load(id_)
            origin = f"encoder {stored.name!r} in {self._path}"
            self._opened = (id_, Encoder(stored.weights, stored.decoder, threads=self._threads, origin=origin))
        return self._opened


def _stored(encoder: Encoder) -> NewEncoder:
    return NewEncoder(
        name=encoder.name,
        bits=encoder.bits,
        fingerprint=encoder.fingerprint,
        info=encoder.info.to_json(),
        weights=encoder.data,
        decoder=encoder.decoder_data,
    )
