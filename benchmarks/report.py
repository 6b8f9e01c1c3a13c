"""How long the page of a report takes to write, how large it is, and how long a browser takes to open it.

The groups are made up: two to six images each, at distances like those of a real collection. Their thumbnails are those
of real files, made for it here: JPEG pictures of soft noise with grain, 1600 x 1200, shared by many images; a file is
read and decoded each time, as it would be. Processor time is told beside the time on the clock: on two idle cores the
page takes half of it. With ``--browser`` the page is opened by Chromium without a window, and a clock in a copy of it
says when its groups are on screen and when all is read.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import circumstances
from PIL import Image

from hashae.indexer.human_size import human_size
from hashae.indexer.pixels import thumbnail
from hashae.indexer.report import DedupReport, Failure, ReportGroup, ReportImage
from hashae.indexer.report_files import write_json
from hashae.indexer.report_page import write_html

CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()

CLOCK = """<script>
let shown = null;
new MutationObserver(() => {
  if (shown === null && document.querySelector("#groups > article")) shown = performance.now();
}).observe(document, { childList: true, subtree: true });
addEventListener("load", () => {
  const count = (what) => document.querySelectorAll(`#groups ${what}`).length;
  document.title = `opened ${count("article")} ${count("img")} ${shown} ${performance.now()}`;
});
</script>"""
"""Stands before the content security policy of the page, which therefore lets it run."""


def made_report(count: int, folder: Path, files: int, seed: int = 0) -> DedupReport:
    """Return a report of so many made-up groups whose images are the files ``0.jpg`` to ``files - 1`` of a folder."""
    random = np.random.default_rng(seed)
    groups, id_ = [], 0
    for number in range(count):
        tiers = random.choice(
            ["bytes", "pixels", "code", "near"], p=[0.35, 0.05, 0.2, 0.4], size=1 + random.poisson(0.4)
        )
        images = []
        for place, tier in enumerate(["", *tiers]):
            id_ += 1
            keep = place == 0
            distance = 0 if tier != "near" else int(np.clip(random.gamma(3, 5), 1, 60))
            images.append(
                ReportImage(
                    id=id_,
                    path=str(folder / f"holiday {number % 40}" / ".." / f"{id_ % files}.jpg"),
                    size=int(random.lognormal(14.2, 0.8)),
                    width=1600 if keep else int(random.choice([1600, 1280, 800])),
                    height=1200 if keep else int(random.choice([1200, 960, 600])),
                    format=str(random.choice(["JPEG", "PNG", "WEBP"], p=[0.85, 0.1, 0.05])),
                    modified=float(random.uniform(1_150_000_000, 1_760_000_000)),
                    distance=distance,
                    tier=str(tier) or "near",
                    keep=keep,
                    reason="largest resolution" if keep else "smaller",
                    content=random.bytes(16).hex(),
                    confidence=float(random.beta(5, 2)),
                )
            )
        order = ["bytes", "pixels", "code", "near"]
        worst = max((image.tier for image in images[1:]), key=order.index)
        images[0] = ReportImage(**{**{name: getattr(images[0], name) for name in ReportImage.__slots__}, "tier": worst})
        farthest = max(image.distance for image in images)
        groups.append(ReportGroup(0, worst, tuple(images), images[0].id, farthest, chained=number % 97 == 0))
    groups.sort(key=lambda group: -group.bytes_to_free)
    numbered = [
        ReportGroup(at, g.tier, g.images, g.representative, g.diameter, g.chained) for at, g in enumerate(groups, 1)
    ]
    return DedupReport(
        collection=str(folder / "photos.db"),
        folder=str(folder),
        encoder="photo",
        bits=256,
        radius=33,
        images=4 * id_,
        created="2026-01-01T12:00:00Z",
        groups=tuple(numbered),
        failures=(Failure(str(folder / "broken.jpg"), "truncated file"),),
        own_radius=True,
        keep_rules=("pixels", "format", "size"),
    )


def make_files(folder: Path, count: int) -> None:
    """Write JPEG pictures of 1600 x 1200: soft noise, which compresses like a photograph."""
    random = np.random.default_rng(1)
    for number in range(40):
        (folder / f"holiday {number}").mkdir()
    for number in range(count):
        soft = Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).resize(
            (1600, 1200), Image.Resampling.BICUBIC
        )
        grain = random.normal(0, 6, (1200, 1600, 1))
        Image.fromarray((np.asarray(soft) + grain).clip(0, 255).astype(np.uint8)).save(
            folder / f"{number}.jpg", quality=85
        )


def opened(page: Path, browser: str) -> str:
    """Open a copy of the page with a clock in it, and return what the clock says."""
    timed = page.with_name(f"timed-{page.name}")
    timed.write_text(page.read_text("utf-8").replace("<head>", f"<head>{CLOCK}", 1), "utf-8")
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *CHROMIUM, f"--user-data-dir={profile}", "--dump-dom", "--timeout=60000", timed.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    timed.unlink()
    found = re.search(r"<title>opened (\d+) (\d+) ([\d.]+) ([\d.]+)</title>", done.stdout)
    if found is None:
        raise SystemExit(f"{browser} did not open the page:\n{done.stderr[-2000:]}")
    groups, pictures, first, whole = found.groups()
    times = f"groups after {float(first):.0f} ms, all read after {float(whole):.0f} ms"
    return f"{groups} groups with {pictures} pictures; {times}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[10, 10_000, 50_000], help="sizes of the reports")
    parser.add_argument("--files", type=int, default=100, help="picture files (default: 100)")
    parser.add_argument("--threads", type=int, default=2, help="threads that make thumbnails (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="times the browser opens each page (default: 3)")
    parser.add_argument("--browser", help="program to open the pages with, for example chromium")
    parser.add_argument("--keep", type=Path, help="existing folder for the pages, to look at them")
    options = parser.parse_args()
    print(circumstances("jinja2", "pillow"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder, options.files)
        for count in options.groups:
            report = made_report(count, folder, options.files)
            images = sum(len(group.images) for group in report.groups)
            page = (options.keep or folder) / f"report-{count}.html"
            start, used = time.perf_counter(), time.process_time()
            write_html(report, page, thumbnail, threads=options.threads)
            middle, used = time.perf_counter(), time.process_time() - used
            write_json(report, folder / "report.json")
            end = time.perf_counter()
            size = page.stat().st_size
            written = f"page written in {middle - start:.1f} s, {used:.1f} s of processor time"
            print(f"{count:,} groups of {images:,} images: {written}, {human_size(size)}", end="")
            print(f", {human_size(size // count)} a group; JSON in {end - middle:.1f} s")
            for _ in range(options.rounds if options.browser else 0):
                print(f"  {opened(page, options.browser)}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
