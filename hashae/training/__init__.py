"""Learning a code: one visible loop, the views it feeds on, and what comes out of it.

>>> from hashae.training import train  # doctest: +SKIP
"""

from __future__ import annotations

from hashae.training.dataset import TrainingImages, load_training_images
from hashae.training.loop import StepReport, TrainResult, train

__all__ = ["StepReport", "TrainResult", "TrainingImages", "load_training_images", "train"]
