"""The pictures that can be asked for by name, and what each needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hashae.codes import unpack
from hashae.drawing import picture_table
from hashae.errors import ConfigError, UnknownName
from hashae.health import code_health
from hashae.show import figures, planes
from hashae.show.model import LatentModel, has_noise, open_model, read_log
from hashae.show.pictures import Pictures, load_pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = NDArray[np.float32]

TOLD_BITS = 8
"""Bits whose meaning is shown where none are chosen: those that change the decoded image most."""

CODES_SHOWN = 3
"""Images whose codes are told."""


@dataclass(frozen=True)
class Request:
    """What a picture is made from.

    Attributes
    ----------
    source
        Encoder file, shipped encoder, run folder or weights, see :func:`hashae.show.model.open_model`.
    pictures
        Files, folders, an ``.npz`` file or ``digits``.
    beside
        Further models, for ``samples``.
    count
        Pictures in a row.
    limit
        Most pictures that are read.
    steps
        Places on a line from one latent to another.
    side
        Of a decoded grid.
    method
        Of the map: ``pca`` or ``tsne``.
    bits
        Whose meaning is shown; none takes the strongest.
    groups
        Names of two classes: with the attribute, and without.
    noise
        Of ``samples``: in deviations of each latent.
    seed
        Of every random choice.
    threads
        CPU threads; None leaves them.
    """

    source: str | Path
    pictures: tuple[str | Path, ...] = ()
    beside: tuple[str | Path, ...] = ()
    count: int = 12
    limit: int = 600
    steps: int = 9
    side: int = 12
    method: Literal["pca", "tsne"] = "pca"
    bits: tuple[int, ...] = ()
    groups: tuple[str, str] | None = None
    noise: float = 1.0
    seed: int = 0
    threads: int | None = None
    _loaded: dict[str, Pictures] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def model(self) -> LatentModel:
        """The model."""
        return open_model(self.source, threads=self.threads)

    def pictures_for(self, model: LatentModel, least: int, what: str) -> Pictures:
        """Return the pictures in the canonical form of a model; `least` of them are needed for `what`."""
        if not self.pictures:
            raise ConfigError(f"no pictures given; {what} needs {least} or more: name files, a folder or an .npz file")
        key = repr(model.form)
        if key not in self._loaded:
            self._loaded[key] = load_pictures(
                self.pictures, model.form, limit=self.limit, seed=self.seed, workers=self.threads or 2
            )
        self._loaded[key].need(least, what)
        return self._loaded[key]

    @property
    def rng(self) -> np.random.Generator:
        """Where chance comes from; the same for every picture."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True)
class Kind:
    """A picture that can be asked for.

    Attributes
    ----------
    title, text
        Above it on a page.
    draw
        Makes it.
    """

    title: str
    text: str
    draw: Callable[[Request], Figure]


def reconstructions(request: Request) -> Figure:
    """Draw pictures and what is left of them."""
    model = request.model
    images = request.pictures_for(model, 1, "a reconstruction").images[: request.count]
    return figures.reconstructions(images, model.reconstruct(images), model.decode_codes(model.codes(images)))


def curves(request: Request) -> Figure:
    """Draw the course of a training."""
    return figures.training_curves(read_log(request.source), noise=has_noise(request.source))


def latent_map(request: Request) -> Figure:
    """Draw latents on a plane."""
    found = request.pictures_for(request.model, 3, "a map")
    points, name = planes.plane_points(request.model.latents(found.images), request.method, request.seed)
    return figures.latent_map(points, found.labels, found.classes, name)


def grid(request: Request) -> Figure:
    """Draw what the places of a plane decode to."""
    found = request.pictures_for(request.model, 3, "a plane through latents")
    plane = planes.find_plane(request.model.latents(found.images))
    decoded = request.model.decode(plane.grid(request.side))
    return figures.decoded_grid(decoded, request.side, f"{plane.name}, {planes.REACH:g} deviations either way")


def interpolation(request: Request) -> Figure:
    """Draw the way from the first picture to the second, and to the next of another class."""
    found = request.pictures_for(request.model, 2, "an interpolation")
    other = 1
    if found.labels is not None and (found.labels != found.labels[0]).any():
        other = int(np.argmax(found.labels != found.labels[0]))
    ends = found.images[[0, other]]
    first, second = request.model.latents(ends)
    line = request.model.decode(planes.between(first, second, request.steps))
    shares = np.linspace(0, 1, request.steps, dtype=np.float32)[:, None, None, None]
    pixels = ends[:1] + shares * (ends[1:] - ends[:1])
    return picture_table([("latents", line), ("pixels", pixels)], [f"{share:.2f}" for share in shares.ravel()])


def average(request: Request) -> Figure:
    """Draw the average of several pictures, in pixels and in latents."""
    found = request.pictures_for(request.model, 2, "an average")
    images = found.images
    if found.labels is not None:  # of one class: the average of all kinds of things is nothing
        images = images[found.labels == found.labels[0]]
    images = images[: request.count]
    middle = request.model.latents(images).mean(axis=0, keepdims=True)
    return figures.average(images, images.mean(axis=0, keepdims=True), request.model.decode(middle))


def attribute(request: Request) -> Figure:
    """Draw pictures without an attribute, and with it added to their latents in steps."""
    found = request.pictures_for(request.model, 2, "an attribute")
    if found.labels is None:
        raise ConfigError(
            "the pictures have no classes; an attribute is what one group has and another has not: name two folders, "
            "or one with a sub-folder for each group"
        )
    names = request.groups or (found.classes[0], found.classes[1])
    for name in names:
        if name not in found.classes:
            raise UnknownName(f"no class is called {name!r}; known ones are {', '.join(found.classes)}")
    having, lacking = (found.labels == found.classes.index(name) for name in names)
    both = having | lacking
    latents = request.model.latents(found.images[both])
    direction = planes.attribute(latents, having[both])
    rows = []
    shares = np.linspace(0, 1.5, request.steps, dtype=np.float32)
    start = latents[lacking[both]][:5]
    for number, latent in enumerate(start):
        walk = latent + shares[:, None] * direction
        rows.append((f"{names[1]} {number + 1}", request.model.decode(walk.astype(np.float32))))
    return picture_table(rows, [f"{share:.2f}" for share in shares])


def samples(request: Request) -> Figure:
    """Draw what latents at random decode to, and latents plus noise, of each model."""
    rows = []
    for model in (request.model, *(open_model(source, threads=request.threads) for source in request.beside)):
        found = request.pictures_for(model, 2, "the spread of latents")
        latents = model.latents(found.images)
        start = latents[: request.count]
        chance = request.rng
        drawn = planes.random_latents(model, latents, request.count, chance)
        kind = "from its prior" if model.variational else "latents at random"
        rows.append((f"{model.name}\n{kind}", model.decode(drawn)))
        rows.append(("pictures", found.images[: request.count]))
        for amount in (0.0, request.noise / 2, request.noise):
            moved = planes.shaken(start, latents, amount, chance)
            rows.append((f"latent + {amount:g} deviations", model.decode(moved)))
    return picture_table(rows)


def variances(request: Request) -> Figure:
    """Draw predicted means and deviations of the pixels."""
    images = request.pictures_for(request.model, 1, "a prediction").images[: request.count]
    return figures.variances(images, *request.model.variances(images))


def code(request: Request) -> Figure:
    """Draw what a code means, and what flipping one of its bits changes."""
    model = request.model
    images = request.pictures_for(model, 1, "a code").images[: min(request.count, CODES_SHOWN)]
    codes = model.codes(images)
    decoded = model.decode_codes(codes)
    wrong = [bit for bit in request.bits if not 0 <= bit < model.bits]
    if wrong:
        raise ConfigError(f"bit {wrong[0]} is not in the code; expected numbers from 0 to {model.bits - 1}")
    flipped = np.stack([_flipped(model, one, request.bits or range(model.bits)) for one in codes])
    bits: Sequence[int] = request.bits
    if not bits:
        effect = np.abs(flipped - decoded[:, None]).mean(axis=(0, 2, 3, 4))
        bits = sorted(np.argsort(-effect, kind="stable")[:TOLD_BITS].tolist())
        flipped = flipped[:, bits]
    return figures.code_meaning(images, decoded, flipped, bits)


def _flipped(model: LatentModel, one: NDArray[np.uint8], bits: Sequence[int]) -> Images:
    """Return what a code ``(bytes,)`` decodes to with each of the bits flipped, ``(len(bits), channels, h, w)``."""
    changed = unpack(one[None]).repeat(len(bits), axis=0)
    changed[np.arange(len(bits)), list(bits)] ^= True
    return model.decode_codes(np.packbits(changed, axis=1))


def code_bits(request: Request) -> Figure:
    """Draw the bits of all pictures."""
    found = request.pictures_for(request.model, 2, "the bits of a collection")
    return figures.code_bits(code_health(request.model.codes(found.images), seed=request.seed))


KINDS: dict[str, Kind] = {
    "reconstructions": Kind(
        "Reconstructions", "Pictures, and what is left of them in the latent and in the code alone.", reconstructions
    ),
    "curves": Kind("Training", "Loss and its terms; below, the noise that makes the units binary.", curves),
    "map": Kind(
        "Map of the latents", "Each point is a picture; pictures that are near have similar latents.", latent_map
    ),
    "grid": Kind("Decoded grid", "What the decoder makes of places on a plane in the space of latents.", grid),
    "interpolation": Kind(
        "Interpolation",
        "From one picture to another, on a line between their latents and between their pixels.",
        interpolation,
    ),
    "average": Kind("Average", "The mean of latents, decoded, beside the mean of pixels.", average),
    "attribute": Kind(
        "Attribute",
        "The difference between the mean latents of two groups, added to pictures of the second in steps.",
        attribute,
    ),
    "samples": Kind(
        "Samples",
        "Latents at random, and latents with noise. Only a variational model has a prior to draw from.",
        samples,
    ),
    "variances": Kind("Predicted variances", "Where the decoder is not sure of a pixel.", variances),
    "code": Kind(
        "What a code means",
        "A picture, its code decoded, and the decoded picture with one bit flipped; red got lighter, blue darker.",
        code,
    ),
    "bits": Kind(
        "Bits of the collection", "How often each is on, how they correlate, how far codes lie apart.", code_bits
    ),
}
"""Name -> picture."""

ALL = "all"
"""Stands for every picture that can be drawn."""


def draw(name: str, request: Request) -> Figure:
    """Return a picture as a matplotlib figure.

    Parameters
    ----------
    name
        One of `KINDS`.
    request
        What it is made from.

    Raises
    ------
    UnknownName
        If there is no such picture.
    HashaeError
        If it cannot be made from what was given; the message says why.
    """
    return KINDS[check_kinds(name)[0]].draw(request)


def check_kinds(text: str) -> list[str]:
    """Return the names of pictures in a text with commas between; ``all`` is all of them.

    Raises
    ------
    UnknownName
        If there is no such picture.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names or [text]:
        if name not in KINDS and name != ALL:
            raise UnknownName(f"no picture is called {name!r}; known ones are {', '.join(KINDS)}, and {ALL}")
    return list(KINDS) if ALL in names else list(dict.fromkeys(names))
