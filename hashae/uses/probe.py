"""Probes: how much a classifier finds in frozen codes or latents. The encoder is not changed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError, MissingDependency, UnknownName

CLASSIFIERS = ("logistic", "svm", "network")
"""Logistic regression, linear support vector machine, and a network with one hidden layer of `HIDDEN` units."""

HIDDEN = 128

Features = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Probe:
    """What one classifier found.

    Attributes
    ----------
    features
        ``codes`` or ``latents``.
    classifier
        One of `CLASSIFIERS`.
    accuracy
        Share of the test images that it names rightly.
    seconds
        Time to train it.
    """

    features: str
    classifier: str
    accuracy: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return all values, ready for JSON."""
        return asdict(self)


def probe(
    features: str,
    train: Features,
    train_labels: Labels,
    test: Features,
    test_labels: Labels,
    *,
    classifiers: Sequence[str] = CLASSIFIERS,
    seed: int = 0,
) -> list[Probe]:
    """Train classifiers on features, and measure them on others.

    Parameters
    ----------
    features
        Name of what the features are.
    train, test
        ``float32 (n, d)``; scaled to unit deviation by those of `train`.
    train_labels, test_labels
        ``int64 (n,)``.
    classifiers
        Some of `CLASSIFIERS`.
    seed
        Of the network.

    Raises
    ------
    UnknownName
        If there is no such classifier.
    ConfigError
        If there are no two classes to tell apart.
    """
    if len(np.unique(train_labels)) < 2:
        raise ConfigError("all labels to learn from are of one class; a probe needs at least two")
    found = []
    for name in classifiers:
        classifier = _classifier(name, seed)
        start = time.perf_counter()
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(train, train_labels)
        seconds = time.perf_counter() - start
        found.append(Probe(features, name, float(classifier.score(test, test_labels)), seconds))
    return found


def _classifier(name: str, seed: int) -> Any:
    if name not in CLASSIFIERS:
        raise UnknownName(f"no classifier is called {name!r}; known ones are {', '.join(CLASSIFIERS)}")
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import LinearSVC
    except ModuleNotFoundError as error:
        raise MissingDependency(f"a probe ({error.name} is missing)", "train") from error
    made = {
        "logistic": lambda: LogisticRegression(max_iter=300),
        "svm": lambda: LinearSVC(dual="auto", random_state=seed),
        "network": lambda: MLPClassifier((HIDDEN,), early_stopping=True, max_iter=100, random_state=seed),
    }
    return make_pipeline(StandardScaler(), made[name]())
