"""Reference codes: some thousand codes of different pictures that an encoder is shipped with.

A small collection cannot tell how near pictures that are different come to each other. It borrows these. They are of
use to the one encoder that made them, so its fingerprint lies in the same file.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashae.calibration import COPY_RATIO
from hashae.codes import Codes, check_codes, hamming
from hashae.encoder import Encoder, write_file
from hashae.errors import EncoderFileError, SourceError
from hashae.images.scan import check_folder, scan
from hashae.strangers import NEIGHBOURS, crowding_among

REFERENCE_CODES = 2000

SPARE = 1.1
"""So many times more pictures are encoded than are kept: some turn out to be copies of others."""

SUFFIX = ".reference.npz"
"""Of the file beside the encoder: ``photo.onnx`` and ``photo.reference.npz``."""


@dataclass(frozen=True)
class Reference:
    """Codes of different pictures.

    Attributes
    ----------
    fingerprint
        Of the encoder that made them.
    codes
        ``uint8 (n, bits // 8)``, in the order of the folders of the pictures: those that lie together stay together.
    """

    fingerprint: str
    codes: Codes

    def save(self, path: str | Path) -> None:
        """Write a ``.npz`` file with the arrays ``codes`` and ``fingerprint``."""
        buffer = io.BytesIO()
        np.savez(buffer, codes=self.codes, fingerprint=np.frombuffer(bytes.fromhex(self.fingerprint), np.uint8))
        write_file(Path(path), buffer.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "reference codes") -> Reference:
        """Read what :meth:`save` wrote; nothing in it can be run.

        Raises
        ------
        EncoderFileError
            If the file is damaged.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                return cls(stored["fingerprint"].tobytes().hex(), check_codes(stored["codes"]))
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise EncoderFileError(f"{origin} are damaged ({error}); make them again or install hashae anew") from error


def make_reference(
    encoder: Encoder,
    folder: str | Path,
    *,
    count: int = REFERENCE_CODES,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Reference:
    """Encode pictures of a folder, drawn at random, and keep the codes of those that are no copies of one another.

    Parameters
    ----------
    encoder
        Whose reference it becomes.
    folder
        Of pictures unlike one another: none that the encoder is measured on.
    count
        Codes to keep, or as many as there are.
    seed
        Of the draw.
    on_progress
        Called with the number of pictures encoded and their number in all.

    Raises
    ------
    SourceError
        If the folder holds fewer different pictures than a crowding needs.
    ImageError
        If a picture cannot be read.
    """
    paths = [found.path for found in scan(check_folder(folder))]
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(paths))[: round(count * SPARE)])
    parts = []
    for start in range(0, len(drawn), 256):
        parts.append(encoder.encode([paths[place] for place in drawn[start : start + 256]]))
        if on_progress:
            on_progress(sum(map(len, parts)), len(drawn))
    codes = np.concatenate(parts) if parts else np.empty((0, encoder.bits // 8), np.uint8)
    if len(codes) < NEIGHBOURS:
        raise SourceError(
            f"{folder} holds {len(codes)} pictures; a reference needs {NEIGHBOURS} and should have {count}"
        )
    kept = _different(codes)
    if len(kept) > count:
        kept = kept[np.sort(rng.permutation(len(kept))[:count])]
    return Reference(encoder.fingerprint, kept)


def _different(codes: Codes) -> Codes:
    """Leave out the later of any two codes that may be copies of one picture; order is kept."""
    distances = hamming(codes, codes)
    crowding = crowding_among(distances, themselves=True)
    near = distances <= COPY_RATIO * np.minimum(crowding[:, None], crowding[None, :])
    kept: list[int] = []
    for place in range(len(codes)):
        if not near[place, kept].any():
            kept.append(place)
    return np.ascontiguousarray(codes[kept])
