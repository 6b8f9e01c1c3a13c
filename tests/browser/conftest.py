"""A real browser and a real server: Debian's Chromium without a window, a collection of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import threading
from importlib.resources import files
from pathlib import Path

import pytest
import uvicorn
from PIL import Image
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from hashae.indexer import Collection
from hashae.pretrained import load
from hashae.serve.app import create_app
from hashae.serve.settings import ServeSettings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


PATIENCE = 90
"""Seconds until something on a page is given up: long, for machines that are busy with other work."""

AXE = """
const done = arguments[0];
axe.run(document, { resultTypes: ["violations"] }).then((found) => done(found.violations.map((one) =>
  [one.impact, one.id, one.nodes.map((node) => node.html.slice(0, 200))])));
"""


@pytest.fixture(scope="session")
def browser():
    """Return Chromium, 1280 x 900; a test that has changed that changes it back."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("Chromium or its driver is not installed: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        driver.implicitly_wait(0)
        driver.set_script_timeout(PATIENCE)
        yield driver
        driver.quit()


@pytest.fixture
def screen(browser):
    """Return a function that sets size and colours of the screen."""

    def set_to(width=1280, height=900, *, dark=False):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    set_to()
    return set_to


@pytest.fixture
def shoot(browser):
    """Return a function that keeps a picture of the page if HASHAE_SCREENSHOTS names a folder for it."""

    def keep(name):
        folder = os.environ.get("HASHAE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            browser.save_screenshot(str(Path(folder) / f"{name}.png"))

    return keep


@pytest.fixture
def pictures(draw, tmp_path):
    """Return a folder of 14 drawings; four have copies: the same bytes, a smaller one, an odd name, a lossy one."""
    folder = tmp_path / "pictures"
    (folder / "copies").mkdir(parents=True)
    for number in range(10):
        draw(number).resize((480, 360), Image.Resampling.BICUBIC).save(folder / f"picture {number}.png")
    (folder / "copies" / "same bytes.png").write_bytes((folder / "picture 0.png").read_bytes())
    Image.open(folder / "picture 1.png").resize((240, 180)).save(folder / "copies" / "smaller.png")
    (folder / "copies" / '<img src=x onerror="document.title=1">\u202egnp.png').write_bytes(
        (folder / "picture 2.png").read_bytes()
    )
    Image.open(folder / "picture 3.png").save(folder / "copies" / "lossy.jpg", quality=60)
    return folder


@pytest.fixture
def served(pictures, tmp_path, monkeypatch):
    """Return the address of a server over the pictures, in a thread; its trash is the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = tmp_path / "pictures.db"
    with Collection.open(path) as collection:
        collection.set_encoder(load(threads=1))
        collection.index(pictures)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    running = uvicorn.Server(
        uvicorn.Config(create_app(ServeSettings(path, port=port)), log_level="error", timeout_graceful_shutdown=60)
    )
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(90)
    listener.close()


@pytest.fixture
def page_of(browser):
    """Return a function from an address to a page; at the end of the test the browser has nothing to complain of."""
    browser.get_log("browser")  # what an earlier test left
    yield lambda address: Page(browser, address)
    browser.get("about:blank")  # before the server goes
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert complaints == []


@pytest.fixture
def page(served, page_of, screen):
    """Return the pages of the server."""
    return page_of(served)


class Page:
    def __init__(self, browser, address):
        self.browser, self.address = browser, address

    def open(self, path):
        self.browser.get(self.address + path)

    def at(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, found):
        """Wait until `found` returns something true, and return it."""

        def safely(_browser):
            try:
                return found()
            except WebDriverException:  # the page is being changed this moment
                return None

        return WebDriverWait(self.browser, PATIENCE, poll_frequency=0.03).until(safely)

    def text(self, selector, pattern):
        return self.wait(lambda: re.search(pattern, self.at(selector).text))

    def press(self, keys):
        self.at("body").send_keys(keys)

    def set(self, selector, value):
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        self.browser.execute_script(script, self.at(selector), value)

    def choose(self, selector, value):
        """Choose an entry of a list."""
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
        self.browser.execute_script(script, self.at(selector), value)

    def findings(self):
        """Return what axe-core finds on the page and holds for serious or critical."""
        # Not through a script element: the policy of the page forbids what is not its own, and rightly.
        self.browser.execute_script((files("axe_core_python") / "axe.min.js").read_text("utf-8"))
        return [one for one in self.browser.execute_async_script(AXE) if one[0] in {"serious", "critical"}]

    def brightness(self):
        """Return the sum of red, green and blue of the background."""
        colour = self.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    def width(self):
        return self.browser.execute_script("return document.documentElement.scrollWidth")
