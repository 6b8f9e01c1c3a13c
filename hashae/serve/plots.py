"""Plots as inline SVG: bars and curves from numbers. Colours come from the style sheet, by class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 190, 44, 34, 12


def bars(
    values: Sequence[float],
    *,
    title: str,
    x_label: str,
    y_label: str,
    marked: Sequence[int] = (),
    line: float | None = None,
    mark: tuple[int, str] | None = None,
    log: bool = False,
) -> Markup:
    """Return a bar for each value.

    Parameters
    ----------
    values
        Heights, at least 0; the first stands at 0.
    title
        For those who cannot see it.
    x_label, y_label
        What the axes show.
    marked
        Places of bars of another colour.
    line
        Height of a dotted line.
    mark
        Place and name of an upright line.
    log
        Heights grow with the logarithm: few are seen beside many.
    """
    n = max(len(values), 1)
    shares = [math.log1p(value) if log else value for value in values]
    top = max([*shares, 0.0]) or 1.0
    width, height = WIDTH - LEFT - 8, HEIGHT - BOTTOM - TOP
    step = width / n
    parts = []
    for place, share in enumerate(shares):
        if share > 0:
            tall = height * share / top
            kind = "bar-marked" if place in marked else "bar"
            x, y = LEFT + place * step, TOP + height - tall
            wide = max(step * 0.86, 0.6)
            parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.2f}" height="{tall:.1f}"/>')
    if line is not None:
        y = TOP + height * (1 - line / top)
        parts.append(f'<line class="guide" x1="{LEFT}" x2="{LEFT + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
    if mark is not None:
        x = LEFT + (mark[0] + 0.5) * step
        anchor, shift = ("end", -5) if mark[0] > 0.6 * n else ("start", 5)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + height}"/>')
        parts.append(
            f'<text class="mark-text" x="{x + shift:.1f}" y="{TOP + 10}" text-anchor="{anchor}">'
            f"{escape(mark[1])}</text>"
        )
    most = max([*values, 0.0])
    parts += _frame(x_label, y_label, "0", f"{n - 1:,}", f"{most:,.4g}")
    return _svg(title, parts)


def curves(
    rows: Sequence[Mapping[str, Any]], *, title: str, x_label: str, mark: tuple[float, str] | None = None
) -> Markup:
    """Return recall and precision over the threshold.

    Parameters
    ----------
    rows
        With ``threshold``, ``recall`` and ``at_least``, see :meth:`hashae.precision.Curve.rows`; ordered.
    title, x_label
        As of :func:`bars`.
    mark
        Threshold and name of an upright line.
    """
    width, height = WIDTH - LEFT - 8, HEIGHT - BOTTOM - TOP
    low, high = float(rows[0]["threshold"]), float(rows[-1]["threshold"])
    span = (high - low) or 1.0

    def x_of(value: float) -> float:
        return LEFT + width * (value - low) / span

    parts = []
    for name in ("recall", "at_least"):
        points = " ".join(f"{x_of(row['threshold']):.1f},{TOP + height * (1 - row[name]):.1f}" for row in rows)
        parts.append(f'<polyline class="curve curve-{name}" points="{points}"/>')
    if mark is not None:
        x = x_of(mark[0])
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + height}"/>')
        parts.append(f'<text class="mark-text" x="{x + 5:.1f}" y="{TOP + height - 6}">{escape(mark[1])}</text>')
    parts += _frame(x_label, "share", f"{low:g}", f"{high:g}", "1")
    return _svg(title, parts)


def _frame(x_label: str, y_label: str, first: str, last: str, most: str) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - 8
    return [
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>',
        f'<text class="tick" x="{LEFT}" y="{bottom + 14}">{escape(first)}</text>',
        f'<text class="tick" x="{right}" y="{bottom + 14}" text-anchor="end">{escape(last)}</text>',
        f'<text class="tick" x="{LEFT - 5}" y="{TOP + 8}" text-anchor="end">{escape(most)}</text>',
        f'<text class="tick" x="{LEFT - 5}" y="{bottom}" text-anchor="end">0</text>',
        f'<text class="label" x="{(LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text class="label" x="12" y="{HEIGHT / 2 - 10}" text-anchor="middle" '
        f'transform="rotate(-90 12 {HEIGHT / 2 - 10})">{escape(y_label)}</text>',
    ]


def _svg(title: str, parts: Sequence[str]) -> Markup:
    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(str(part) for part in parts) + "</svg>")  # every text in it is escaped above
