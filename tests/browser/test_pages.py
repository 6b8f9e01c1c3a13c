"""What a person does on the pages, in a real browser: search, slide, decide by key, trash, undo; dark; on a phone."""

from __future__ import annotations

import re

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

DROP = """
const [name, done] = arguments;
fetch("/api/v1/images/1/file").then((answer) => answer.blob()).then((blob) => {
  const data = new DataTransfer();
  data.items.add(new File([blob], name, { type: "image/png" }));
  const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(event);
  done(data.files.length);
});
"""


@pytest.fixture
def page(browser, served, screen):
    """Return a page with the few things a test does to it; at its end the browser has nothing to complain of."""
    browser.get_log("browser")  # what an earlier test left
    yield Page(browser, served)
    browser.get("about:blank")  # before the server goes
    complaints = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert complaints == []


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

        return WebDriverWait(self.browser, 15, poll_frequency=0.03).until(safely)

    def text(self, selector, pattern):
        return self.wait(lambda: re.search(pattern, self.at(selector).text))

    def press(self, keys):
        self.at("body").send_keys(keys)

    def set(self, selector, value):
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        self.browser.execute_script(script, self.at(selector), value)

    def width(self):
        return self.browser.execute_script("return document.documentElement.scrollWidth")


def test_a_picture_is_searched_and_the_radius_slid(page, pictures, shoot):
    page.open("/")
    page.at("#file").send_keys(str(pictures / "copies" / "smaller.png"))
    page.text("#answers-title", "14 most similar")
    names = [element.text for element in page.all("#answers .tile-name")]
    assert {"smaller.png", "picture 1.png"} == set(names[:2])
    page.text("#how", r"ms in all · .* ms to decode and encode · .* ms to search by \w+")
    page.all(".modes label")[2].click()
    page.set("#radius", 0)
    page.text("#answers-title", r"^\d pictures? found")
    few = len(page.all("#answers li"))
    page.set("#radius", 120)
    page.wait(lambda: len(page.all("#answers li")) > few)
    page.text("#radius-out", "120 of 256 bits")
    assert "promised" in page.at("#promise").text
    shoot("search")
    page.all(".modes label")[1].click()
    page.wait(lambda: {"smaller.png", "picture 1.png"} == {one.text for one in page.all("#answers .tile-name")})
    page.at("#answers button[data-id]").click()
    page.wait(lambda: "image=" in page.browser.current_url and page.all("#answers a[href^='/why']"))
    page.at("#answers a[href^='/why']").click()
    page.text("#verdict", "256 bits")
    page.wait(lambda: len(page.all("#bits .bit")) == 256)
    page.all("#bits .bit")[7].click()
    page.text("#flip-text", "Bit 7 .* sure of it. Flipping it moves the decoded picture by")
    shoot("why")


# Whether each picture that is compared lies inside of its frame, hidden ones too.
INSIDE = """
for (const figure of document.querySelectorAll("#stage figure")) figure.hidden = false;
return [...document.querySelectorAll("#stage img, #stage canvas")].map((one) => {
  const inner = one.getBoundingClientRect(), outer = one.closest(".frame").getBoundingClientRect();
  return inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1 && inner.width > 0;
});
"""


def test_a_picture_is_dropped(page):
    page.open("/")
    assert page.browser.execute_async_script(DROP, "<b>dropped.png") == 1
    page.text("#drop-title", "^<b>dropped.png$")
    page.wait(lambda: page.all("#answers .badge"))
    assert page.at("#answers .badge").text == "same code"


def test_duplicates_are_reviewed_trashed_and_brought_back(page, pictures, shoot):
    before = sorted(path.name for path in pictures.rglob("*.*"))
    page.open("/duplicates")
    page.text("#found", "4 groups of duplicates among 14 pictures")
    page.text("#place", "1 of 4")
    shoot("duplicates")
    assert page.browser.title == "Duplicates · hashae"
    page.press("2")
    page.wait(lambda: [one.text.split()[-1] for one in page.all(".choice")] == ["Goes", "Stays"])
    page.press("k")
    page.text("#cart-text", "1 file marked to go")
    page.text("#place", "2 of 4")
    assert not page.at("#distinct").is_enabled()  # copies of one file
    page.press("k")
    page.text("#cart-text", "2 files marked")
    page.text("#place", "3 of 4")
    page.press("d")
    page.text("#place", "4 of 4")
    page.press("u")
    page.text("#place", "3 of 4")
    page.press("c")
    page.wait(lambda: len(page.all("#stage img")) == 2)
    shoot("compare")
    page.press("f")  # keys count wherever the focus is
    page.wait(lambda: page.at("[data-view=flicker]").get_attribute("aria-pressed") == "true")
    frames = page.browser.execute_script(INSIDE)
    assert len(frames) == 2
    assert all(frames), "a picture is cut off"
    page.at("[data-view=difference]").click()
    page.text("#compare-note", "On average .* of 255 levels")
    assert page.browser.execute_script(INSIDE) == [True]
    shoot("difference")
    page.at("#compare-close").click()
    page.at("#preview").click()
    page.text("#preview-text", "2 files would go into the trash")
    shoot("preview")
    assert sorted(path.name for path in pictures.rglob("*.*")) == before
    page.at("#apply").click()
    page.text("#toast", "2 files moved to the trash")
    assert len(list(pictures.rglob("*.*"))) == len(before) - 2
    page.text("#history", "trash · 2 files")
    page.text("#place", "3 of 4")  # on to what is not decided
    shoot("applied")
    page.at("#back").click()
    page.text("#toast", "2 files brought back")
    assert sorted(path.name for path in pictures.rglob("*.*")) == before
    page.text("#cart-text", "2 files marked to go")


def test_many_groups_are_marked_by_a_rule(page, pictures, shoot):
    page.open("/duplicates")
    page.text("#place", "1 of 4")
    page.at("#bulk").click()
    page.text("#bulk-text", "2 groups: 2 files would be marked")
    page.at("#bulk-tiers input[value=near]").click()
    page.text("#bulk-text", "4 groups: 4 files would be marked")
    page.set("#bulk-prefer", str(pictures / "copies"))
    page.browser.execute_script(
        "arguments[0].dispatchEvent(new Event('change', {bubbles: true}))", page.at("#bulk-prefer")
    )
    page.wait(lambda: "4 files" in page.at("#bulk-text").text)
    shoot("bulk")
    page.at("#bulk-keep").click()
    page.text("#cart-text", "4 files marked to go")
    page.at("#preview").click()
    page.text("#preview-text", "4 files would go into the trash")
    rows = page.all("#preview-files tbody tr")
    assert all("/copies/" not in row.find_elements(By.TAG_NAME, "td")[1].text for row in rows)
    assert all("/copies/" in row.find_elements(By.TAG_NAME, "td")[2].text for row in rows)
    page.wait(
        lambda: page.browser.execute_script(
            "return [...document.querySelectorAll('.going')].every((one) => one.naturalWidth > 0)"
        )
    )
    page.at("#preview-close").click()
    page.set("#state", "keep")
    page.browser.execute_script("arguments[0].dispatchEvent(new Event('change', {bubbles: true}))", page.at("#state"))
    page.text("#place", "1 of 4")
    page.at("#bulk").click()
    page.at("#bulk-tiers input[value=near]").click()
    page.wait(lambda: "No group" in page.at("#bulk-text").text)
    page.at("#bulk-open").click()
    page.text("#place", "no group")


def test_pages_are_dark_fit_a_phone_and_are_named(page, screen, shoot):
    for path, name in (("/", "search"), ("/duplicates", "duplicates"), ("/collection", "collection"),
                       ("/why?a=1&b=2", "why"), ("/map", "map"), ("/api", "api")):  # fmt: skip
        screen(dark=True)
        page.open(path)
        if path == "/duplicates":
            page.text("#place", "1 of 4")
        colour = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", colour)[:3])) < 120
        shoot(f"{name}-dark")
        screen(390, 844)
        assert page.width() <= 390, path
        shoot(f"{name}-phone")
        assert page.browser.execute_script(NAMELESS) == [], path


# What has no name for those who listen to the page: a small part of what axe looks for.
NAMELESS = """
const nameless = [];
for (const one of document.querySelectorAll("a, button, input, select, summary, canvas, [role=img]")) {
  const label = one.labels && [...one.labels].some((label) => label.textContent.trim());
  const named = one.getAttribute("aria-label") || one.textContent.trim() || label || one.closest("[hidden]");
  if (!named) nameless.push(one.outerHTML.slice(0, 120));
}
for (const image of document.querySelectorAll("img:not([alt])")) nameless.push(image.outerHTML.slice(0, 120));
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
nameless.push(...ids.filter((id, place) => ids.indexOf(id) !== place));
if (document.querySelectorAll("h1").length !== 1) nameless.push("not one h1");
return nameless;
"""


def test_focus_is_seen_and_reaches_the_content(page, screen):
    page.open("/duplicates")
    page.text("#place", "1 of 4")
    page.press(Keys.TAB)
    focused = page.browser.switch_to.active_element
    assert focused.text == "Skip to the content"
    assert "solid" in focused.value_of_css_property("outline")
