"""The pictures of the page in the README: a server over the sample collection, looked at by Chromium without a window.

``python benchmarks/screenshots.py`` writes ``docs/images/page-*.png``. Needs Debian's ``chromium`` and
``chromium-driver``. The sample collection is written into the folder for temporary files and removed again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from serve import start_server

from hashae.client import Client
from hashae.indexer import Collection
from hashae.pretrained import load

SIZE = (1240, 900)
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars".split()
COLOURS = 256
"""Of a picture: enough for the page, and a third of the bytes."""


class Camera:
    """A browser, and where its pictures go."""

    def __init__(self, address: str, folder: Path, profile: str) -> None:
        options = Options()
        options.binary_location = shutil.which("chromium") or "chromium"
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self._address, self._folder = address, folder
        metrics = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(self._address + path)

    def all(self, selector: str) -> list[Any]:
        """Return the elements of the page that a selector names."""
        found: list[Any] = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found

    def wait(self, done: Callable[[], object]) -> None:
        """Wait until something is so."""
        for _ in range(600):
            if done():
                return
            time.sleep(0.05)
        raise SystemExit(f"the page {self.driver.current_url} does not get there")

    def shoot(self, name: str) -> None:
        """Keep a picture of what is on screen, once all of its pictures are loaded."""
        loaded = "return [...document.images].every((one) => !one.src || one.loading === 'lazy' || one.complete)"
        self.wait(lambda: self.driver.execute_script(loaded))
        time.sleep(0.5)  # what fades in has faded in
        picture = Image.open(BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        path = self._folder / f"page-{name}.png"
        picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def pair(address: str) -> tuple[int, int]:
    """Return the ids of a flower and of its copy turned by two degrees."""
    client = Client(address)
    client.find_duplicates()
    while client.job("duplicates")["state"] == "running":
        time.sleep(0.05)
    for group in client.groups(limit=200)["groups"]:
        ids = {Path(image["path"]).parent.name: image["id"] for image in group["images"]}
        if {"scanned", "flower"} <= ids.keys():
            return ids["flower"], ids["scanned"]
    raise SystemExit("no flower has a scanned copy")


def photograph(camera: Camera, first: int, second: int) -> None:
    """Take the three pictures."""
    camera.open(f"/?image={first}")
    camera.wait(lambda: camera.all("#answers .badge"))
    camera.shoot("search")
    camera.open("/duplicates")
    camera.wait(lambda: camera.all(".member"))
    camera.driver.execute_script(
        "const text = document.getElementById('text'); text.value = 'flower';"
        "text.dispatchEvent(new Event('input', { bubbles: true }));"
    )
    camera.wait(lambda: any("flower" in one.text for one in camera.all(".member")))
    camera.shoot("duplicates")
    camera.open(f"/why?a={first}&b={second}")
    camera.wait(lambda: len(camera.all("#bits .bit")) == 256)
    camera.driver.execute_script(
        "const card = document.querySelector('.bits-card');"
        "scrollTo(0, card.offsetTop + card.offsetHeight + 16 - innerHeight)"
    )
    camera.shoot("why")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[1] / "docs" / "images"
    parser.add_argument("--folder", type=Path, default=default, help="where the pictures go (default: docs/images)")
    options = parser.parse_args()
    # A name without chance in it: it is seen in the pictures.
    room = Path(tempfile.gettempdir()) / "hashae-demo"
    room.mkdir()
    try:
        pictures = room / "pictures"
        subprocess.run([sys.executable, Path(__file__).with_name("demo.py"), "write", pictures], check=True)
        with Collection.open(room / "pictures.db") as collection:
            collection.set_encoder(load())
            collection.index(pictures)
        process, port = start_server(room / "pictures.db")
        try:
            address = f"http://127.0.0.1:{port}"
            first, second = pair(address)
            camera = Camera(address, options.folder, str(room / "profile"))
            try:
                photograph(camera, first, second)
            finally:
                camera.driver.quit()
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(room, ignore_errors=True)


if __name__ == "__main__":
    main()
