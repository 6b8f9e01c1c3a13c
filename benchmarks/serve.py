"""How fast `hashae serve` answers, over HTTP on loopback: the first page, an uploaded photograph, look-ups by id.

The collection holds made-up codes (``made_collection.py``), so that its size can be chosen; the photograph that is
uploaded is drawn, 12 megapixels unless told otherwise, and found in it. Server and clients share the processors of this
machine; *processor* is the time that the server itself works on one answer, which a busy machine changes least. Every
answer is checked: one that is not 200 is counted and told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path

import numpy as np
from made_collection import drawn_picture, make_collection
from measure import circumstances
from PIL import Image

SEED = 0
BORDER = "hashae-benchmark"


def photograph(picture: Path, megapixels: float) -> bytes:
    """Return the drawn picture enlarged to so many megapixels, with the noise of a camera, as JPEG."""
    height = int((megapixels * 1e6 * 3 / 4) ** 0.5)
    with Image.open(picture) as image:
        large = np.asarray(image.convert("RGB").resize((height * 4 // 3, height), Image.Resampling.BICUBIC), np.int16)
    noise = np.random.default_rng(SEED).integers(-6, 7, large.shape, dtype=np.int16)
    buffer = BytesIO()
    Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


class Asker:
    """One client with one connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body."""
        return self._ask("GET", path, None, {})

    def upload(self, path: str, data: bytes) -> tuple[int, bytes]:
        """Return status and body of a question about a picture."""
        head = f'--{BORDER}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{BORDER}--\r\n".encode()
        return self._ask("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={BORDER}"})

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def start_server(path: Path) -> tuple[subprocess.Popen[str], int]:
    """Start the server on a free port and wait until it says its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hashae.cli", "serve", "--db", str(path), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    if "http://127.0.0.1:" not in line:
        process.kill()
        raise SystemExit(f"the server did not start: {line}{process.stderr.read()}")
    return process, int(line.split("http://127.0.0.1:")[1].split("/")[0])


def processor(pid: int) -> float:
    """Return the seconds of processor time that a process has used, in user mode and in the system (Linux)."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def timed(name: str, times: list[float], used: float, goal: str) -> None:
    """Print the median and the slowest twentieth of some times, and the processor time of one answer."""
    ordered = sorted(times)
    late = ordered[int(0.95 * (len(ordered) - 1))]
    numbers = (statistics.median(times), late, ordered[-1], used / len(times))
    print(f"{name:<44}" + "".join(f" {1e3 * number:9.1f}" for number in numbers) + f"  {goal}")


def measure_one(asker: Asker, pid: int, photo: bytes, images: int, rounds: int) -> None:
    """Time questions of one client, one after the other."""
    rng = np.random.default_rng(SEED)
    print(f"{'one client, milliseconds':<44} {'median':>9} {'95 %':>9} {'most':>9} {'processor':>9}  goal")
    kinds = {
        "search page": ("/", None, "< 300"),
        "duplicates page": ("/duplicates", None, "< 300"),
        f"upload of {len(photo) / 1e6:.1f} MB, 24 nearest": ("/api/v1/query?k=24", photo, "< 150"),
        "upload, within radius 20": ("/api/v1/query?radius=20", photo, "< 150"),
        "upload, same code": ("/api/v1/query?exact=true", photo, "< 150"),
    }
    for name, (path, data, goal) in kinds.items():
        times, before = [], processor(pid)
        for number in range(rounds + 1):
            start = time.perf_counter()
            status, _ = asker.get(path) if data is None else asker.upload(path, data)
            seconds = time.perf_counter() - start
            assert status == 200, (path, status)
            if number == 0:
                if path == "/":
                    timed("search page, the first time", [seconds], processor(pid) - before, goal)
                before = processor(pid)
            else:
                times.append(seconds)
        timed(name, times, processor(pid) - before, goal)
    for name, path in (("an image by id", "/api/v1/images/{}"), ("24 nearest by id", "/api/v1/images/{}/matches?k=24")):
        times, before = [], processor(pid)
        for id_ in rng.integers(1, images + 1, 10 * rounds).tolist():
            start = time.perf_counter()
            status, _ = asker.get(path.format(id_))
            times.append(time.perf_counter() - start)
            assert status == 200, (path, status)
        timed(name, times, processor(pid) - before, "")
        print(f"{'':<44} {len(times) / sum(times):9.0f} a second{'':>21}  >= 100")


def measure_many(port: int, photo: bytes, images: int, users: int, seconds: float) -> None:
    """Let many users ask at once, without a pause, and count answers and errors."""
    ends, counts, errors, slowest = time.monotonic() + seconds, [0] * users, [0] * users, [0.0] * users

    def use(number: int) -> None:
        rng, asker = np.random.default_rng([SEED, number]), Asker(port)
        while time.monotonic() < ends:
            start, kind = time.perf_counter(), rng.random()
            id_ = int(rng.integers(1, images + 1))
            try:
                if kind < 0.1:
                    status, body = asker.upload("/api/v1/query?k=24", photo)
                elif kind < 0.5:
                    status, body = asker.get(f"/api/v1/images/{id_}/matches?k=24")
                else:
                    status, body = asker.get(f"/api/v1/images/{id_}" if kind < 0.9 else "/")
                good = status == 200 and (kind >= 0.9 or isinstance(json.loads(body), dict))
            except OSError:
                good, asker = False, Asker(port)
            counts[number] += good
            errors[number] += not good
            slowest[number] = max(slowest[number], time.perf_counter() - start)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(
        f"{users} users at once for {seconds:g} s (a tenth of the questions are uploads): {sum(counts):,} answers, "
        f"{sum(counts) / seconds:.0f} a second, {sum(errors)} errors, slowest {max(slowest):.2f} s"
    )


FRAMES = """
const done = arguments[0], canvas = document.getElementById("map"), times = [];
let last = performance.now(), left = 80;
function frame(now) {
  times.push(now - last);
  last = now;
  if (!--left) { done(times.slice(5)); return; }
  const settings = { deltaY: left % 40 < 20 ? -1 : 1, clientX: 500, clientY: 400, bubbles: true, cancelable: true };
  canvas.dispatchEvent(new WheelEvent("wheel", settings));
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
"""
"""Zooms in and out, one step a frame, and returns the milliseconds between frames."""


def measure_map(port: int, browser: str) -> None:
    """Open the map in a browser without a window or a graphics card, and time its frames while it is zoomed."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    options = Options()
    options.binary_location = shutil.which(browser) or browser
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            driver.set_window_size(1280, 900)
            driver.set_script_timeout(300)
            start = time.perf_counter()
            driver.get(f"http://127.0.0.1:{port}/map")
            while not driver.find_element(By.ID, "map-text").text:
                time.sleep(0.01)
            shown = time.perf_counter() - start
            times = sorted(driver.execute_async_script(FRAMES))
        finally:
            driver.quit()
    late = times[int(0.95 * (len(times) - 1))]
    print(
        f"map in the browser: all points there after {shown:.2f} s; zooming, a frame every "
        f"{statistics.median(times):.0f} ms at the median, {late:.0f} ms at 95 %, {times[-1]:.0f} ms at most"
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100_000, help="codes in the collection (default: 100,000)")
    parser.add_argument("--rounds", type=int, default=30, help="questions of each kind (default: 30)")
    parser.add_argument("--megapixels", type=float, default=12.0, help="of the uploaded photograph (default: 12)")
    parser.add_argument("--users", type=int, default=50, help="users at once (default: 50; 0 leaves them out)")
    parser.add_argument("--seconds", type=float, default=60.0, help="that they ask (default: 60)")
    parser.add_argument("--browser", help="program to time the map with, for example chromium")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.db"
        picture = drawn_picture(Path(folder) / "picture.png")
        make_collection(path, options.size, picture)
        photo = photograph(picture, options.megapixels)
        print(circumstances("fastapi", "uvicorn", "onnxruntime", seed=SEED))
        print(f"{options.size:,} made-up codes of 256 bits; a photograph of {options.megapixels:g} megapixels")
        process, port = start_server(path)
        try:
            measure_one(Asker(port), process.pid, photo, options.size, options.rounds)
            if options.browser:
                measure_map(port, options.browser)
            if options.users:
                measure_many(port, photo, options.size, options.users, options.seconds)
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
