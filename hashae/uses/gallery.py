"""Outliers as one HTML page, complete in itself."""

from __future__ import annotations

import base64
from collections.abc import Callable
from importlib.resources import files

import hashae
from hashae.uses.outliers import OutlierReport

SHOWN = 60
"""Pictures on the page."""


def to_html(report: OutlierReport, thumbnail: Callable[[str], bytes | None], count: int = SHOWN) -> str:
    """Return the page: the pictures that belong least, and for comparison those that belong most.

    Parameters
    ----------
    report
        From :func:`hashae.uses.outliers.find_outliers`.
    thumbnail
        Returns a small JPEG of a file, or None.
    count
        Most pictures of the first kind.
    """
    from jinja2 import Environment, StrictUndefined

    def image(path: str) -> str:
        data = thumbnail(path)
        return "" if data is None else base64.b64encode(data).decode()

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(files("hashae.uses").joinpath("gallery.html.j2").read_text("utf-8"))
    first = report.ranked[:count]
    last = report.ranked[len(first) :][-12:]
    return template.render(
        report=report,
        parts=[("These belong least", first), ("For comparison, these belong most", last)],
        image=image,
        version=hashae.__version__,
        text=lambda path: path.encode("utf-8", "backslashreplace").decode("utf-8"),
    )
