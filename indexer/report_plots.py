"""The plots of a report, drawn as SVG: no library, no picture, sharp on paper, in the colours of the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from hashae.indexer.page_text import amount, below, common_folder, date, visible
from hashae.indexer.report import TIERS, DedupReport

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 40
FOLDERS_SHOWN = 8
MOST_BARS = 64
CUT = 4
"""A bar so many times higher than all others is cut, or nothing else could be seen."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with what it says.

    Attributes
    ----------
    title, text
        Headline, and a sentence on how to read it.
    svg
        The drawing.
    """

    title: str
    text: str
    svg: Markup


def plots(report: DedupReport) -> list[Plot]:
    """Return the plots of a report: distances, growth with the radius, years and folders; none without groups."""
    spare = [(image, group) for group in report.groups for image in group.images if not image.keep]
    if not spare:
        return []
    distances: Counter[tuple[int, str]] = Counter((image.distance, image.tier) for image, _ in spare)
    # how near the nearest other image of each group is: from that radius on there is a group
    nearest = Counter(min(image.distance for image in group.images if not image.keep) for group in report.groups)
    drawn = [_histogram(report, distances), _growth(report, distances, nearest)]
    years = Counter((date(image.modified)[:4], image.tier) for image, _ in spare)
    years = Counter({key: count for key, count in years.items() if key[0].isdigit()})
    if len({year for year, _ in years}) > 1:
        drawn.append(_years(years))
    folders: Counter[str] = Counter(visible(image.path).rpartition("/")[0] or "/" for image, _ in spare)
    if len(folders) > 1:
        drawn.append(_folders(folders))
    return drawn


def _histogram(report: DedupReport, distances: Counter[tuple[int, str]]) -> Plot:
    far = max(*(distance for distance, _ in distances), report.radius, 1)
    step = math.ceil((far + 1) / MOST_BARS)
    bars = [[0] * len(TIERS) for _ in range(far // step + 1)]
    for (distance, tier), count in distances.items():
        bars[distance // step][TIERS.index(tier)] += count
    scale = (WIDTH - LEFT - RIGHT) / ((far // step + 1) * step)
    top = _top([sum(bar) for bar in bars])
    body = [_grid(top)]
    for place, bar in enumerate(bars):
        first, last = place * step, min(place * step + step - 1, far)
        span = amount(first, "bit") if first == last else f"{first} to {last} bits"
        body.append(_stack(bar, LEFT + place * step * scale, step * scale, top, span))
    body += [_below(LEFT + (value + 0.5) * scale, str(value)) for value in _ticks(far)]
    at = LEFT + (report.radius + (0.5 if step == 1 else 1)) * scale
    kind = "median radius" if report.own_radius else "radius"
    words = f"{kind} {report.radius}"
    if report.calibration is not None:
        words += f", promised precision {100 * report.calibration.precision:.10g} %"
    side = "end" if at > WIDTH / 2 else "start"
    body.append(
        f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="strong" x="{at + (-6 if side == "end" else 6):.1f}" y="{TOP - 8}" text-anchor="{side}">'
        f"{words}</text>"
    )
    body.append(_axis("differing bits to the one that is kept"))
    return Plot(
        "How far apart",
        "Images of all groups by their distance to the one that is kept, coloured by match. Many bars close to the "
        "line: look at those groups first.",
        _svg(body, f"Histogram of distances; {words} of {report.bits} bits"),
    )


def _growth(report: DedupReport, distances: Counter[tuple[int, str]], nearest: Counter[int]) -> Plot:
    far = max(*(distance for distance, _ in distances), report.radius, 1)
    by_distance = Counter[int]()
    for (distance, _), count in distances.items():
        by_distance[distance] += count
    images, groups = [0], [0]
    for radius in range(far + 1):
        images.append(images[-1] + by_distance[radius])
        groups.append(groups[-1] + nearest[radius])
    top, scale = math.ceil(images[-1] * 1.2), (WIDTH - LEFT - RIGHT) / (far + 1)  # room for the words
    body = [_grid(top)]
    for name, values in (("images", images[1:]), ("groups", groups[1:])):
        points: list[str] = []
        shown = None
        for radius, value in enumerate(values):
            if value != shown:  # a step: nothing is drawn where nothing changes
                points.append(f"{'V' if points else f'M{LEFT:.1f} '}{_height(value, top):.1f}")
                shown = value
            points.append(f"H{LEFT + (radius + 1) * scale:.1f}")
        body.append(f'<path class="line l-{name}" d="{"".join(points)}"/>')
        where = _height(values[-1], top) + (-7 if name == "images" else 16)
        words = f"{values[-1]:,} images beside the kept" if name == "images" else amount(values[-1], "group")
        body.append(
            f'<text class="strong {name}" x="{WIDTH - RIGHT - 8}" y="{where:.1f}" text-anchor="end">{words}</text>'
        )
    at = LEFT + min(report.radius + 1, far + 1) * scale
    body.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    body += [_below(LEFT + (value + 0.5) * scale, str(value)) for value in _ticks(far)]
    body.append(_axis("radius in bits"))
    return Plot(
        "What a smaller radius would leave",
        "Of what was found: images, and groups with two at least, that lie within a radius of the one that is kept.",
        _svg(body, f"Growth with the radius: {amount(images[-1], 'image')} in {amount(groups[-1], 'group')} at {far}"),
    )


def _years(years: Counter[tuple[str, str]]) -> Plot:
    first, last = (int(pick(year for year, _ in years)) for pick in (min, max))
    if last - first >= MOST_BARS:  # one file of 1970 must not flatten all others
        first = last - MOST_BARS + 1
    bars = [[years[f"{year:04d}", tier] for tier in TIERS] for year in range(first, last + 1)]
    early = sum(count for (year, _), count in years.items() if int(year) < first)
    scale, top = (WIDTH - LEFT - RIGHT) / len(bars), _top([sum(bar) for bar in bars])
    body = [_grid(top)]
    body += [_stack(bar, LEFT + place * scale, scale, top, str(first + place)) for place, bar in enumerate(bars)]
    every = math.ceil(len(bars) / 12)
    body += [_below(LEFT + (place + 0.5) * scale, str(first + place)) for place in range(0, len(bars), every)]
    body.append(_axis(f"year of the file; {amount(early, 'image')} before {first}" if early else "year of the file"))
    return Plot(
        "From which years", "Images beside the kept ones by the date of their file.", _svg(body, "Images per year")
    )


def _folders(folders: Counter[str]) -> Plot:
    listed = sorted(folders.items(), key=lambda item: (-item[1], item[0]))
    shown, rest = listed[:FOLDERS_SHOWN], listed[FOLDERS_SHOWN:]
    top, body = shown[0][1], []
    common = common_folder(folders)
    row = (HEIGHT - 14) / FOLDERS_SHOWN
    for place, (folder, count) in enumerate(shown):
        y = 8 + place * row
        width = max(1.0, (WIDTH - 330) * count / top)
        name = below(folder, common)
        name = name if len(name) <= 30 else f"…{name[-29:]}"
        body.append(
            f'<text class="name" direction="ltr" unicode-bidi="isolate" x="246" y="{y + 16:.1f}" '
            f'text-anchor="end">{escape(name)}<title>{escape(folder)}</title></text>'
            f'<rect class="f-plain" x="254" y="{y + 4:.1f}" width="{width:.1f}" height="{row - 9:.1f}" rx="2"/>'
            f'<text class="strong" x="{260 + width:.1f}" y="{y + 16:.1f}">{count:,}</text>'
        )
    text = f"Images beside the kept ones by folder{f', below {common}' if common else ''}."
    if rest:
        text = f"{text[:-1]}; {amount(len(rest), 'more folder')} with {amount(sum(n for _, n in rest), 'image')}."
    return Plot("In which folders", text, _svg(body, "Images per folder", 14 + int(row * len(shown))))


def _top(heights: Sequence[int]) -> int:
    """Return the value at the top of the axis: the highest bar, unless it would flatten all others."""
    ordered = sorted(heights)
    second = ordered[-2] if len(ordered) > 1 else 0
    return math.ceil(second * 1.5) if 0 < second * CUT < ordered[-1] else max(ordered[-1], 1)


def _height(value: float, top: int) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(value / top, 1)


def _stack(bar: Sequence[int], x: float, width: float, top: int, where: str) -> str:
    """Draw one bar in the colours of the tiers; one that is cut tells its number."""
    if not any(bar):
        return ""
    gap = min(1.5, width / 5)
    parts = [f"<g><title>{where}: {amount(sum(bar), 'image')}</title>"]
    bottom = 0
    for tier, count in zip(TIERS, bar, strict=True):
        low, high = _height(bottom, top), _height(bottom + count, top)
        if count and low > high:
            parts.append(
                f'<rect class="f-{tier}" x="{x + gap / 2:.1f}" y="{high:.1f}" width="{max(width - gap, 0.8):.1f}" '
                f'height="{max(low - high, 0.8):.1f}"/>'
            )
        bottom += count
    if bottom > top:
        parts.append(
            f'<path class="cut" d="M{x - 1:.1f} {TOP + 14}l{width + 2:.1f} -6"/>'
            f'<text x="{x + width + 4:.1f}" y="{TOP + 10}">{bottom:,}</text>'
        )
    return "".join(parts) + "</g>"


def _grid(top: int) -> str:
    parts = []
    for value in _ticks(top, 4):
        y = _height(value, top)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>'
        )
    return "".join(parts)


def _ticks(most: int, wanted: int = 8) -> list[int]:
    """Return round numbers from 0 to `most`."""
    step = 1
    while most / step > wanted:
        power = 10 ** int(math.log10(step))
        step = {1: 2, 2: 5, 5: 10}[step // power] * power
    return list(range(0, most + 1, step))


def _below(x: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{text}</text>'


def _axis(text: str) -> str:
    return (
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{text}</text>'
    )


def _svg(body: Sequence[str], label: str, height: int = HEIGHT) -> Markup:
    from markupsafe import Markup

    head = f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(body) + "</svg>")
