"""What a person does on the pages, in a real browser: search, slide, decide by key, trash, undo; dark; on a phone."""

from __future__ import annotations

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

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


PASTE = DROP.replace(
    """const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(event);""",
    """document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));""",
)


def test_a_picture_is_pasted(page):
    assert "ClipboardEvent" in PASTE
    page.open("/")
    assert page.browser.execute_async_script(PASTE, "image.png") == 1
    page.text("#drop-title", "^image.png$")
    page.wait(lambda: page.all("#answers .badge"))
    assert page.at("#answers .badge").text == "same code"


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
    assert page.findings() == []
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
    assert page.findings() == []
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
    page.choose("#bulk-prefer", str(pictures / "copies"))
    page.wait(lambda: "4 files" in page.at("#bulk-text").text)
    shoot("bulk")
    assert page.findings() == []
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
    page.choose("#state", "keep")
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
        assert page.brightness() < 120
        shoot(f"{name}-dark")
        assert page.findings() == [], path
        screen(390, 844)
        assert page.width() <= 390, path
        shoot(f"{name}-phone")
        assert page.findings() == [], path


def test_focus_is_seen_and_reaches_the_content(page, screen):
    page.open("/duplicates")
    page.text("#place", "1 of 4")
    page.press(Keys.TAB)
    focused = page.browser.switch_to.active_element
    assert focused.text == "Skip to the content"
    assert "solid" in focused.value_of_css_property("outline")


def test_the_map_is_zoomed_and_a_point_searched(page):
    page.open("/map")
    page.text("#map-text", "14 pictures")
    whole = page.browser.execute_script(PAINTED)
    assert whole
    page.at("#map").send_keys("++")
    page.wait(lambda: page.browser.execute_script(PAINTED) != whole)
    page.at("#all").click()
    page.wait(lambda: page.browser.execute_script(PAINTED) == whole)
    left, top = page.wait(lambda: page.browser.execute_script(POINT))
    ActionChains(page.browser).move_to_element_with_offset(page.at("#map"), left, top).perform()
    page.wait(lambda: page.at("#hover").is_displayed())
    ActionChains(page.browser).click().perform()
    page.wait(lambda: "?image=" in page.browser.current_url)
    page.text("#answers-title", "most similar")


PAINTED = """
const canvas = document.getElementById("map");
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
let count = 0;
for (let at = 3; at < pixels.length; at += 4) count += pixels[at] > 0;
return count;
"""
# A painted place, from the middle of the canvas.
POINT = """
const canvas = document.getElementById("map");
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
for (let y = 60; y < canvas.height - 8; y++) for (let x = 8; x < canvas.width - 200; x++) {
  if (pixels[4 * (y * canvas.width + x) + 3] > 0) return [x + 1 - canvas.width / 2, y + 1 - canvas.height / 2];
}
return null;
"""


def test_indexing_and_calibration_are_followed(page, pictures, draw):
    draw(20).save(pictures / "new.png")
    page.open("/collection")
    page.at("[data-job=index]").click()
    page.wait(lambda: page.at(".tiles dd").text == "15")
    page.at("[data-job=calibrate]").click()
    page.wait(lambda: page.all(".curve-recall") or "too few" in page.at("#calibrate-text").text)
