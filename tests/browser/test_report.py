"""The report as a file, in a real browser: opened from disk, filtered, walked by key, dark, on a phone, printed."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By

from hashae.indexer import Collection
from hashae.indexer.pixels import thumbnail
from hashae.indexer.report_page import write_html
from hashae.pretrained import load


@pytest.fixture
def report(page_of, pictures, tmp_path, screen):
    """Return the page of a report of the pictures, opened from disk."""
    with Collection.open(tmp_path / "report.db") as collection:
        collection.set_encoder(load(threads=1))
        collection.index(pictures)
        found = collection.dedup()
    write_html(found, tmp_path / "report.html", thumbnail)
    page = page_of((tmp_path / "report.html").as_uri())
    page.open("")
    page.wait(lambda: page.all("#groups article"))
    return page


def shown(page):
    """Return the labels of the groups at one moment: the page may be put together anew at any time."""
    script = "return [...document.querySelectorAll('#groups article')].map((one) => one.getAttribute('aria-label'))"
    return page.browser.execute_script(script)


def test_groups_are_filtered_sorted_and_walked_by_key(report, shoot):
    assert shown(report) == [f"Group {number}" for number in range(1, 5)]
    report.wait(lambda: report.browser.execute_script(LOADED))
    shoot("report")
    report.at("input[name=tier][value=near]").click()
    report.wait(lambda: len(shown(report)) == 2)
    report.at("input[name=tier][value=near]").click()
    report.set("#text", "lossy")
    report.wait(lambda: len(shown(report)) == 1)
    report.set("#text", "onerror")  # the name of a file, which is only a name
    report.wait(lambda: len(shown(report)) == 1 and "<img src=x" in report.at("#groups article").text)
    assert report.wait(lambda: "\\u202e" in report.at("#groups article").text)
    report.set("#text", "")
    report.choose("#sort", "far")
    report.wait(lambda: shown(report)[0] != "Group 1")

    def walked():  # the text that was cleared may put the page together once more, after the key
        report.press("j")
        return report.browser.switch_to.active_element.tag_name == "article"

    assert report.wait(walked)
    assert report.browser.title.startswith("Duplicate images")


def test_it_is_dark_fits_a_phone_and_prints(report, screen, shoot):
    assert report.findings() == []
    screen(dark=True)
    assert report.brightness() < 120
    assert report.findings() == []
    shoot("report-dark")
    screen(390, 844)
    assert report.width() <= 390
    assert report.findings() == []
    shoot("report-phone")
    screen()
    report.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not report.at(".tools").is_displayed()
    assert report.at("#groups article").find_element(By.TAG_NAME, "img").is_displayed()
    shoot("report-print")
    report.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


LOADED = "return [...document.querySelectorAll('#groups img')].every((one) => one.complete && one.naturalWidth > 0)"
