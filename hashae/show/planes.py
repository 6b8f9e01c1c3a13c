"""Walks through the space of latents: planes, lines, groups, random places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hashae.errors import ConfigError, MissingDependency
from hashae.show.model import LatentModel

Images = NDArray[np.float32]

REACH = 2.0
"""Standard deviations to either side of the mean that a decoded grid covers."""


@dataclass(frozen=True)
class Plane:
    """A plane in the space of latents.

    Attributes
    ----------
    centre
        ``float32 (latent_size,)``.
    axes
        ``float32 (2, latent_size)``, orthonormal.
    deviations
        ``float32 (2,)``: standard deviation of the latents along both axes.
    name
        How it was found.
    """

    centre: Images
    axes: Images
    deviations: Images
    name: str

    def points(self, latents: Images) -> Images:
        """Return the places of latents on the plane, ``float32 (n, 2)``."""
        return ((latents - self.centre) @ self.axes.T).astype(np.float32)

    def grid(self, side: int) -> Images:
        """Return latents on a square grid, ``float32 (side * side, latent_size)``, row by row from the lower left."""
        steps = np.linspace(-REACH, REACH, side, dtype=np.float32)
        across, up = np.meshgrid(steps, steps)
        places = np.stack([across.ravel(), up.ravel()], axis=1) * self.deviations
        latents: Images = (self.centre + places @ self.axes).astype(np.float32)
        return latents


def find_plane(latents: Images) -> Plane:
    """Return the plane of a 2-D latent itself, else that of the first two principal components.

    Parameters
    ----------
    latents
        ``float32 (n, latent_size)``, three or more.

    Raises
    ------
    ConfigError
        If there are fewer, or they are all the same.
    """
    if len(latents) < 3:
        raise ConfigError(f"{len(latents)} pictures given; a plane through latents needs 3 or more")
    centre = latents.mean(axis=0)
    if latents.shape[1] == 2:
        return Plane(centre, np.eye(2, dtype=np.float32), latents.std(axis=0), "the two latents")
    _, sizes, axes = np.linalg.svd(latents - centre, full_matrices=False)
    if not sizes[0] > 1e-6:
        raise ConfigError("all pictures have one and the same latent; give pictures that differ")
    share = np.square(sizes[:2]).sum() / np.square(sizes).sum()
    deviations = (sizes[:2] / np.sqrt(len(latents))).astype(np.float32)
    name = f"first two principal components: {100 * share:.0f} % of the variance"
    return Plane(centre, axes[:2].astype(np.float32), deviations, name)


def plane_points(latents: Images, method: Literal["pca", "tsne"] = "pca", seed: int = 0) -> tuple[Images, str]:
    """Return places ``float32 (n, 2)`` of latents on a plane, and how they were found.

    Parameters
    ----------
    latents
        ``float32 (n, latent_size)``.
    method
        ``pca``, or ``tsne`` (van der Maaten and Hinton 2008); a 2-D latent is taken as it is with ``pca``.
    seed
        Of t-SNE.
    """
    if method == "pca":
        plane = find_plane(latents)
        return (latents if latents.shape[1] == 2 else plane.points(latents)), plane.name
    if len(latents) < 5:
        raise ConfigError(f"{len(latents)} pictures given; t-SNE needs 5 or more")
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError as error:
        raise MissingDependency(f"t-SNE ({error.name} is missing)", "train") from error
    perplexity = min(30.0, (len(latents) - 1) / 3)
    points: Images = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(latents)
    return points, f"t-SNE, perplexity {perplexity:.0f}"


def between(first: Images, second: Images, steps: int) -> Images:
    """Return latents on the line from one ``(latent_size,)`` to the other, both included, ``(steps, latent_size)``."""
    if steps < 2:
        raise ConfigError(f"steps is {steps}; expected 2 or more")
    shares = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    line: Images = (first + shares * (second - first)).astype(np.float32)
    return line


def attribute(latents: Images, group: NDArray[np.bool_]) -> Images:
    """Return the direction from the mean latent of the others to that of a group, ``float32 (latent_size,)``.

    Parameters
    ----------
    latents
        ``float32 (n, latent_size)``.
    group
        ``bool (n,)``: who has the attribute.
    """
    if not 0 < group.sum() < len(group):
        raise ConfigError(f"{int(group.sum())} of {len(group)} pictures have the attribute; expected some, and not all")
    direction: Images = latents[group].mean(axis=0) - latents[~group].mean(axis=0)
    return direction


def random_latents(model: LatentModel, latents: Images, count: int, rng: np.random.Generator) -> Images:
    """Return latents at random: from the prior of a variational model, else as the latents of pictures spread.

    Other models have no prior. Each of their latents is drawn by itself: a zero or a one as often as in the pictures
    where it is meant to be one of them, else normal with its own mean and deviation, within what the pictures reach.
    What comes out of the decoder then is as good as the latents are independent.

    Parameters
    ----------
    model
        Whose latents.
    latents
        Of pictures, ``float32 (n, latent_size)``.
    count
        How many.
    rng
        Where chance comes from.
    """
    shape = (count, latents.shape[1])
    noise = rng.standard_normal(shape, dtype=np.float32)
    if model.variational:
        return noise
    if model.binary:
        bits: Images = (rng.random(shape) < (latents > 0.5).mean(axis=0)).astype(np.float32)
        return bits
    drawn: Images = latents.mean(axis=0) + latents.std(axis=0) * noise
    return drawn.clip(latents.min(axis=0), latents.max(axis=0))


def shaken(start: Images, latents: Images, amount: float, rng: np.random.Generator) -> Images:
    """Return latents plus noise of `amount` times the deviation each latent has over pictures.

    Parameters
    ----------
    start
        ``float32 (n, latent_size)``.
    latents
        Of many pictures; tell the deviations.
    amount
        0 or more.
    rng
        Where chance comes from.
    """
    noise: NDArray[Any] = rng.standard_normal(start.shape, dtype=np.float32)
    moved: Images = (start + amount * latents.std(axis=0) * noise).astype(np.float32)
    return moved
