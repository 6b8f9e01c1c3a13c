"""Run a trained encoder: pictures in, packed codes out. ONNX Runtime only; torch is not needed.

An encoder is one ONNX file. Its metadata hold, as JSON under the key ``hashae``, everything needed to use it: name,
bits, canonical form, calibrated radius, how it was trained. The fingerprint is the SHA-256 of the file: two encoders
agree in every code if they agree in it. A decoder, which shows what a code means, may lie beside it (``x.onnx`` and
``x.decoder.onnx``).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import Tail
from hashae.codes import KEY_BITS, Codes, check_bits, check_codes, pack, unpack
from hashae.errors import ConfigError, EncoderFileError
from hashae.images.canonical import CanonicalForm
from hashae.images.decode import decode, large_images_allowed, read_bytes
from hashae.images.detail import detail
from hashae.session import open_session, run

if TYPE_CHECKING:
    import onnxruntime

METADATA_KEY = "hashae"
FORMAT = 1
PART = 64
"""Images in one call of the network: large enough for speed, small enough for the caches."""

MAX_FILE_BYTES = 256 << 20


@dataclass(frozen=True)
class EncoderInfo:
    """What is written in an encoder file beside its weights.

    Attributes
    ----------
    name
        For people; two encoders may share it.
    bits
        Code length.
    form
        Canonical form of its images.
    radius
        Hamming distance, inclusive, up to which two images count as duplicates; calibrated when it was trained.
    key_radius
        The same for the first 64 bits alone.
    tail
        From which a collection gives every image a radius of its own, see :mod:`hashae.calibration`; None if it was
        trained on too few images.
    made
        How it came to be: model and training settings, number of images, version of hashae; shown, never used.
    health
        Measured on the training images: balance, effective bits, share of distinct codes.
    """

    name: str
    bits: int
    form: CanonicalForm
    radius: int
    key_radius: int
    tail: Tail | None = None
    made: dict[str, Any] = field(default_factory=dict)
    health: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the metadata text of the encoder file."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        # A name may hold the word that gives external data away when the file is opened: spelled as JSON allows, too.
        return text.replace("location", r"\u006cocation")

    @classmethod
    def from_json(cls, text: str) -> EncoderInfo:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        EncoderFileError
            If the text is damaged or of a newer format.
        """
        try:
            values = json.loads(text)
            written = values.pop("format")
            if written != FORMAT:
                raise EncoderFileError(f"encoder has format {written}; this version reads {FORMAT}: update hashae")
            values["form"] = CanonicalForm(**values["form"])
            tail = values.get("tail")
            values["tail"] = None if tail is None else Tail(**tail)
            info = cls(**values)
            check_bits(info.bits)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, EncoderFileError):
                raise
            raise EncoderFileError(f"encoder metadata are damaged ({error}); export it again") from error
        return info


@dataclass(frozen=True)
class Encoded:
    """Codes of a batch and how sure they are.

    Attributes
    ----------
    codes
        ``uint8 (n, bits // 8)``.
    confidence
        ``float32 (n,)`` from 0 to 1: mean of ``|2 * sigmoid(logit) - 1|`` over the least certain eighth of the bits.
    detail
        ``float32 (n,)``: how much there is to see, in grey levels, see :mod:`hashae.images.detail`.
    """

    codes: Codes
    confidence: NDArray[np.float32]
    detail: NDArray[np.float32]


class Encoder:
    """A trained encoder, ready to use.

    Parameters
    ----------
    data
        The bytes of an encoder file.
    decoder
        The bytes of its decoder file, or None.
    threads
        CPU threads that run the network, each on images of its own; None takes all cores.
    origin
        Named in errors.

    Raises
    ------
    EncoderFileError
        If the bytes are no hashae encoder, or refer to other files.
    """

    def __init__(
        self, data: bytes, decoder: bytes | None = None, *, threads: int | None = None, origin: str = "encoder"
    ) -> None:
        self._data, self._decoder_data, self._threads = data, decoder, threads or os.cpu_count() or 1
        self._origin = origin
        # Threads that share an image wait for each other at every layer: a tenth of the work is lost.
        self._session = open_session(data, 1, origin)
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise EncoderFileError(
                f"{origin} is an ONNX model, but not one of hashae; expected a file that train wrote"
            )
        self.info = EncoderInfo.from_json(text)
        self.fingerprint = hashlib.sha256(data).hexdigest()
        self._decoder: onnxruntime.InferenceSession | None = None
        shapes = [self._session.get_inputs()[0].shape[1:], self._session.get_outputs()[0].shape[1:]]
        if shapes != [list(self.info.form.shape), [self.info.bits]]:
            raise EncoderFileError(
                f"{origin} has shapes {shapes}; its metadata say {self.info.form.shape} and {self.bits}"
            )

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> Encoder:
        """Read an encoder file, and the decoder file beside it if there is one.

        Raises
        ------
        EncoderFileError
            If the file is missing, damaged, too large or not ours.
        """
        path = Path(path)
        decoder_path = decoder_file(path)
        return cls(
            _read(path),
            _read(decoder_path) if decoder_path.is_file() else None,
            threads=threads,
            origin=str(path),
        )

    def save(self, path: str | Path) -> None:
        """Write the encoder file, and its decoder beside it if it has one."""
        path = Path(path)
        write_file(path, self._data)
        if self._decoder_data is not None:
            write_file(decoder_file(path), self._decoder_data)

    @property
    def name(self) -> str:
        """Name for people."""
        return self.info.name

    @property
    def bits(self) -> int:
        """Code length."""
        return self.info.bits

    @property
    def key_bits(self) -> int:
        """Length of the prefix that addresses the hash table."""
        return min(self.bits, KEY_BITS)

    @property
    def form(self) -> CanonicalForm:
        """Canonical form of its images."""
        return self.info.form

    @property
    def data(self) -> bytes:
        """The encoder file."""
        return self._data

    @property
    def decoder_data(self) -> bytes | None:
        """The decoder file, or None."""
        return self._decoder_data

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, bits={self.bits}, fingerprint={self.fingerprint[:12]!r})"

    def logits(self, thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return ``float32 (n, bits)``: positive for a 1, large for a sure bit.

        Parameters
        ----------
        thumbs
            ``uint8 (n, channels, thumb, thumb)`` as :func:`hashae.images.decode` makes them for `form`.
        """
        logits = np.empty((len(thumbs), self.bits), np.float32)

        def work(part: slice) -> None:
            logits[part] = self._run(self.form.levels(thumbs[part]))

        self._in_parts(work, len(thumbs))
        return logits

    def encode_thumbs(self, thumbs: NDArray[np.uint8]) -> Encoded:
        """Return codes, confidence and detail of decoded images; `thumbs` as in :meth:`logits`."""
        return self._encoded(len(thumbs), lambda part: self.form.levels(thumbs[part]))

    def encode_levels(self, levels: NDArray[np.float32]) -> Encoded:
        """Return the same of images at the size of the encoder's input, as :meth:`CanonicalForm.levels` returns them.

        Parameters
        ----------
        levels
            ``float32 (n, channels, size, size)`` in [0, 255].
        """
        return self._encoded(len(levels), lambda part: levels[part])

    def _encoded(self, count: int, levels_of: Callable[[slice], NDArray[np.float32]]) -> Encoded:
        logits, details = np.empty((count, self.bits), np.float32), np.empty(count, np.float32)

        def work(part: slice) -> None:
            levels = levels_of(part)
            logits[part] = self._run(levels)
            details[part] = detail(levels)

        self._in_parts(work, count)
        sureness = np.abs(np.tanh(logits / 2))
        least = max(self.bits // 8, 1)
        confidence = np.partition(sureness, least - 1, axis=1)[:, :least].mean(axis=1)
        return Encoded(pack(logits > 0), confidence.astype(np.float32), details)

    def canonical_logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return ``float32 (n, bits)`` of images in canonical form, ``float32 (n, channels, size, size)``."""
        logits = np.empty((len(images), self.bits), np.float32)

        def work(part: slice) -> None:
            logits[part] = run(self._session, self._origin, images=images[part])

        self._in_parts(work, len(images))
        return logits

    def _in_parts(self, work: Callable[[slice], None], count: int) -> None:
        """Do the work for parts of `count` images, on as many threads as there are."""
        parts = [slice(start, min(start + PART, count)) for start in range(0, count, PART)]
        if self._threads == 1 or len(parts) <= 1:
            for part in parts:
                work(part)
            return
        with ThreadPoolExecutor(min(self._threads, len(parts)), thread_name_prefix="hashae-encode") as pool:
            list(pool.map(work, parts))

    def _run(self, levels: NDArray[np.float32]) -> NDArray[np.float32]:
        return run(self._session, self._origin, images=self.form.normalise(levels))

    def encode(self, images: Sequence[str | Path] | NDArray[np.uint8], *, workers: int = 2) -> Codes:
        """Return the codes of image files or of decoded images.

        Parameters
        ----------
        images
            Paths, or ``uint8 (n, channels, thumb, thumb)``.
        workers
            Decoding threads for paths.

        Returns
        -------
        uint8 of shape (n, bits // 8)

        Raises
        ------
        ImageError
            If a file cannot be read. To go on past bad files, index them in a collection.
        """
        if isinstance(images, np.ndarray):
            return self.encode_thumbs(images).codes
        if not len(images):
            return np.empty((0, self.bits // 8), np.uint8)
        with large_images_allowed(), ThreadPoolExecutor(workers) as pool:
            thumbs = list(pool.map(self._thumb, images))
        return self.encode_thumbs(np.stack(thumbs)).codes

    def encode_file(self, path: str | Path, *, mirror: bool = False, views: bool = False) -> Encoded:
        """Return the code of one image file, ``uint8 (1, bits // 8)``, and its confidence.

        Parameters
        ----------
        path
            Of the file.
        mirror
            Return that of the picture and then that of its mirror image, ``uint8 (2, bits // 8)``.
        views
            Of each of these, return further codes behind it: one for each of
            :data:`hashae.images.query_views.QUERY_VIEWS`.

        Raises
        ------
        ImageError
            If the file cannot be read.
        """
        with large_images_allowed():
            thumb = self._thumb(path)
        thumbs = np.stack([thumb, thumb[:, :, ::-1]]) if mirror else thumb[None]
        if not views:
            return self.encode_thumbs(thumbs)
        from hashae.images.query_views import QUERY_VIEWS, view_levels

        seen = [self.form.levels(thumbs), *(view_levels(thumbs, self.form, view) for view in QUERY_VIEWS)]
        levels = np.stack(seen, axis=1)  # (m, views, channels, size, size)
        return self.encode_levels(levels.reshape(-1, *levels.shape[2:]))

    def _thumb(self, path: str | Path) -> NDArray[np.uint8]:
        return decode(read_bytes(path), path, side=self.form.thumb, channels=self.form.channels).thumb

    def decode(self, codes: Codes) -> NDArray[np.float32]:
        """Return what the codes mean: images ``float32 (n, channels, size, size)`` in [0, 1].

        Raises
        ------
        EncoderFileError
            If the encoder came without a decoder, or with one that is damaged or of another encoder.
        CodeError
            If the codes have another width.
        """
        return self.decode_shares(unpack(check_codes(codes, self.bits)).astype(np.float32))

    def decode_shares(self, shares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return images of bits that may lie between 0 and 1: what is half-way between two codes, say.

        Parameters
        ----------
        shares
            ``float32 (n, bits)`` from 0 to 1.

        Raises
        ------
        EncoderFileError
            As :meth:`decode`.
        """
        if self._decoder_data is None:
            raise EncoderFileError(f"encoder {self.name!r} has no decoder; keep the .decoder.onnx file beside it")
        if self._decoder is None:
            session = open_session(self._decoder_data, self._threads, f"decoder of {self.name}")
            shapes = [session.get_inputs()[0].shape[1:], session.get_outputs()[0].shape[1:]]
            if shapes != [[self.bits], list(self.form.shape)]:
                raise EncoderFileError(
                    f"decoder of {self.name} does not fit: it has shapes {shapes}, its encoder {self.bits} bits and "
                    f"images {self.form.shape}; keep the two files of one training together"
                )
            self._decoder = session
        return run(self._decoder, f"decoder of {self.name}", codes=shares)


def decoder_file(path: Path) -> Path:
    """Return where the decoder of the encoder file `path` lies: ``x.onnx`` -> ``x.decoder.onnx``."""
    return path.with_suffix(".decoder.onnx")


def write_file(path: Path, data: bytes) -> None:
    """Write a file in one step: the old one stays whole until the new one is."""
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} does not exist; create the folder first")
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise EncoderFileError(f"{path} cannot be written ({error.strerror or error})") from error


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise EncoderFileError(f"{path} has {path.stat().st_size:,} bytes; the limit is {MAX_FILE_BYTES:,}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise EncoderFileError(f"{path} does not exist; expected an encoder file (.onnx) that train wrote") from error
    except OSError as error:
        raise EncoderFileError(f"{path} cannot be read ({error.strerror or error})") from error
