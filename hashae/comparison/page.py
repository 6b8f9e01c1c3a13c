"""A comparison as one HTML page, complete in itself."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import hashae
from hashae.comparison import figures
from hashae.comparison.rows import Comparison
from hashae.comparison.table import best, cell, lines, used_columns
from hashae.drawing import to_base64

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_html(comparison: Comparison) -> str:
    """Return the page: table, scores, curves, reconstructions, maps and answers.

    Raises
    ------
    MissingDependency
        If matplotlib is not installed.
    """
    from jinja2 import Environment, StrictUndefined

    found, data = lines(comparison), comparison.data
    columns = used_columns(found)
    winners = {column.field: best(found, column) for column in columns}
    drawn: list[dict[str, str]] = []

    def draw(title: str, text: str, figure: Figure) -> None:
        drawn.append({"title": title, "text": text, "image": to_base64(figure)})

    if found:
        if data.classes:
            draw("Finding the same class", "All training images are ranked by distance.", figures.scores(found))
            draw(
                "Right answers within a radius",
                "A code that puts everything into few buckets answers always, and often wrongly; one that gives every "
                "image a code of its own seldom answers.",
                figures.curves(found),
            )
        draw(
            "Questions and answers",
            "Test images, and below each the nearest training images by code"
            + (": red frames are of another class." if data.classes else "."),
            figures.answers(found, data),
        )
        draw(
            "Reconstructions",
            "What is left of a test image: from the latent, and from nothing but its bits.",
            figures.reconstructions(found, data),
        )
        draw("Latents", "Test images on their two principal components before rounding.", figures.maps(found, data))
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(files("hashae.comparison").joinpath("page.html.j2").read_text("utf-8"))
    return template.render(
        comparison=comparison,
        data=data,
        settings=_settings(comparison),
        tiles=[(column, winners[column.field]) for column in columns if winners[column.field]],
        value={line.variant: line for line in found},
        columns=columns,
        winners=winners,
        rows=[
            (line.variant, [(column, cell(line, column), line.value(column.field)) for column in columns])
            for line in found
        ],
        figures=drawn,
        failed=comparison.failed,
        version=hashae.__version__,
        cell=cell,
    )


def _settings(comparison: Comparison) -> list[tuple[str, Any]]:
    settings = comparison.settings
    seeds = sorted({row.seed for row in comparison.rows if row.seed is not None})
    limit = [f"{settings['steps']:,} steps" if settings["steps"] else "", _seconds(settings["budget"])]
    return [
        ("images", f"{len(comparison.data.train):,} to learn from and to search in, {len(comparison.data.test):,} ask"),
        ("classes", f"{len(comparison.data.classes)}, for scoring only" if comparison.data.classes else "none"),
        ("code", f"{settings['bits']} bits"),
        ("each variant", " or ".join(part for part in limit if part)),
        ("layers", f"{settings['trunk']}, width {settings['width']}"),
        ("seeds", ", ".join(map(str, seeds)) or "none trained"),
    ]


def _seconds(budget: float | None) -> str:
    return "" if budget is None else f"{budget:g} s"
