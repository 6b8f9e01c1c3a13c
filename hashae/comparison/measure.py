"""Everything that is measured of one encoder, whatever made it: codes, reconstructions, speed."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.calibration import health
from hashae.codes import Codes, hamming, pack
from hashae.comparison.copies import EditedCopies
from hashae.comparison.data import ComparisonData
from hashae.encoder import Encoder
from hashae.errors import EncoderFileError
from hashae.evaluation import count_by_label, evaluate_retrieval, precision_within

RADIUS = 2
PROBED = 5000
"""Most images that the linear probe learns from."""

SHOWN = 12
"""Test images whose reconstructions are shown."""

MAPPED = 600
"""Test images on the map of the latents."""

ASKED, ANSWERS = 4, 8
"""Questions that are shown, and nearest images of each."""

RADII = 9
"""Radii from 0 whose precision is drawn."""


@dataclass(frozen=True)
class Measures:
    """What was measured; None where the data do not allow it.

    Attributes
    ----------
    error
        Mean squared error of test images reconstructed from the latent before rounding; None for encoder files, which
        have no such decoder.
    code_error
        The same from the code; None without a decoder.
    map
        Mean average precision: test images ask, training images answer, the same label is right. Expected over the
        order of equal distances.
    precision
        Share of right answers within 2 bits; no answer counts as 0.
    empty
        Share of test images with no answer within 2 bits.
    unique
        Different codes of the training images, divided by their number.
    imbalance
        Mean over bits of ``|2 * mean - 1|``: 0 if each is 1 for half of the images.
    effective_bits
        Independent bits that would spread distances as much.
    probe
        Accuracy of a linear classifier on the latents.
    copies
        Share of edited copies within the radius that at most one in 10,000 pairs of different pictures reaches.
    seconds
        Training time, wall clock; None for encoder files.
    steps
        Optimiser steps; None for encoder files.
    rate
        Images encoded in a second, decoding and canonical form left out.
    size
        Bytes of the encoder file.
    """

    error: float | None
    code_error: float | None
    map: float | None
    precision: float | None
    empty: float | None
    unique: float
    imbalance: float
    effective_bits: float
    probe: float | None
    copies: float | None
    seconds: float | None
    steps: int | None
    rate: float
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return all values, ready for JSON."""
        return asdict(self)


Examples = dict[str, NDArray[Any]]
"""What a page shows of one encoder: see :func:`examples`."""


def measure(
    encoder: Encoder,
    data: ComparisonData,
    copies: EditedCopies | None,
    *,
    error: float | None = None,
    seconds: float | None = None,
    steps: int | None = None,
    sample: NDArray[np.float32] | None = None,
) -> tuple[Measures, Examples]:
    """Measure an encoder on the data.

    Parameters
    ----------
    encoder
        Trained; of any canonical form whose thumbs the data can give.
    data
        Its training images are the database, its test images the queries.
    copies
        Edited copies of test images, or None.
    error, seconds, steps
        What only the training knows.
    sample
        Reconstructions from the latent of the first `SHOWN` test images, for the page.
    """
    train, test = data.train.thumbs(encoder.form), data.test.thumbs(encoder.form)
    train_logits, rate = _timed_logits(encoder, train)
    test_logits = encoder.logits(test)
    database, queries = pack(train_logits > 0), pack(test_logits > 0)
    decoded = _decoded(encoder, queries)
    clean = encoder.form(test)
    healthy = health(database[:4000])
    retrieval, probe = None, None
    if data.train_labels is not None and data.test_labels is not None:
        retrieval = evaluate_retrieval(queries, database, data.test_labels, data.train_labels, radius=RADIUS)
        probe = linear_probe(train_logits, data.train_labels, test_logits, data.test_labels)
    measures = Measures(
        error=error,
        code_error=None if decoded is None else float(np.square(decoded - clean).mean()),
        map=retrieval.map if retrieval else None,
        precision=retrieval.precision_radius if retrieval else None,
        empty=retrieval.empty if retrieval else None,
        unique=len(np.unique(database, axis=0)) / len(database),
        imbalance=healthy["imbalance"],
        effective_bits=healthy["effective_bits"],
        probe=probe,
        copies=None if copies is None else copies.recall(encoder, queries),
        seconds=seconds,
        steps=steps,
        rate=rate,
        size=len(encoder.data),
    )
    return measures, examples(data, test_logits, queries, database, sample, decoded)


def linear_probe(
    train: NDArray[np.float32], train_labels: NDArray[np.int64], test: NDArray[np.float32], labels: NDArray[np.int64]
) -> float:
    """Return the accuracy on `test` of a logistic regression trained on the first `PROBED` rows of `train`.

    Parameters
    ----------
    train, test
        Latents ``float32 (n, bits)``; scaled to unit deviation by those of `train`.
    train_labels, labels
        Whole numbers ``(n,)``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = train_labels[:PROBED]
    if len(np.unique(known)) < 2:
        return float((labels == known[0]).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(train[:PROBED], known)
    return float(probe.score(test, labels))


def examples(
    data: ComparisonData,
    logits: NDArray[np.float32],
    queries: Codes,
    database: Codes,
    sample: NDArray[np.float32] | None,
    decoded: NDArray[np.float32] | None,
) -> Examples:
    """Return what a page shows of an encoder.

    Returns
    -------
    dict of arrays
        ``latent`` and ``code``: reconstructions ``float32 (SHOWN, channels, size, size)``, where there are any;
        ``map``: test latents on their two principal components, ``float32 (n, 2)``; ``curve``: precision within each
        radius from 0, where there are labels; ``answers``: rows of the nearest training images, ``int64 (ASKED,
        ANSWERS)``.
    """
    few = logits[:MAPPED]
    centred = few - few.mean(axis=0)
    found: Examples = {"map": (centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T).astype(np.float32)}
    if sample is not None:
        found["latent"] = sample[:SHOWN]
    if decoded is not None:
        found["code"] = decoded[:SHOWN]
    distances = hamming(queries[:ASKED], database)
    found["answers"] = np.argsort(distances, axis=1, kind="stable")[:, :ANSWERS].astype(np.int64)
    if data.train_labels is not None and data.test_labels is not None:
        blocks = count_by_label(queries, database, data.test_labels, data.train_labels)
        bits = queries.shape[1] * 8
        curve = [precision_within(blocks, radius)[0].mean() for radius in range(min(RADII, bits + 1))]
        found["curve"] = np.array(curve, np.float32)
    return found


def _timed_logits(encoder: Encoder, thumbs: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    encoder.logits(thumbs[:1])  # the first call sets things up
    start = time.perf_counter()
    logits = encoder.logits(thumbs)
    return logits, len(thumbs) / (time.perf_counter() - start)


def _decoded(encoder: Encoder, codes: Codes) -> NDArray[np.float32] | None:
    if encoder.decoder_data is None:
        return None
    try:
        return encoder.decode(codes)
    except EncoderFileError:
        return None
