"""How good codes are: retrieval measures, plain hashes to compare with, nearest neighbours in pixel space.

Everything here takes packed codes (see :mod:`hashae.codes`), whatever made them. Nothing here needs torch.
"""

from __future__ import annotations

from hashae.evaluation.baselines import BASELINES, LinearHash, create_baseline
from hashae.evaluation.blocks import DistanceBlocks, count_by_label, count_neighbours
from hashae.evaluation.pixels import nearest_in_pixels
from hashae.evaluation.ranking import (
    average_precision,
    precision_at,
    precision_within,
    recall_at,
    top_average_precision,
)
from hashae.evaluation.retrieval import RetrievalResult, evaluate_retrieval

__all__ = [
    "BASELINES",
    "DistanceBlocks",
    "LinearHash",
    "RetrievalResult",
    "average_precision",
    "count_by_label",
    "count_neighbours",
    "create_baseline",
    "evaluate_retrieval",
    "nearest_in_pixels",
    "precision_at",
    "precision_within",
    "recall_at",
    "top_average_precision",
]
