"""The demo's page in Chromium: which side shows what, the heat map, and fingers and files that are dragged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from helpers import ternary_models
from helpers.browsers import chromium
from PIL import Image

pytest.importorskip("uvicorn", reason="needs lit-rnncomp[demo]")

from helpers.served import served

import lit_rnncomp

PHOTO = ternary_models.picture(180, 240)


class Page:
    """The page in a browser, with one photograph chosen."""

    def __init__(self, browser: Any, file: Path) -> None:
        self.browser = browser
        self.find("#choose").send_keys(str(file))
        self.wait("files.webp && !files.webp.stale && $('progress').hidden")

    def find(self, css: str) -> Any:
        return self.browser.find_element("css selector", css)

    def run(self, script: str) -> Any:
        return self.browser.execute_script(f"return {script}")

    def wait(self, what: str) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, 60).until(lambda _: self.run(what))

    def choose(self, side: str, name: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.find(f"#{side}")).select_by_value(name)

    def tags(self) -> list[str]:
        return [tag.text for tag in self.browser.find_elements("css selector", ".tag")]

    def shown(self) -> list[str]:
        """What the pictures' addresses end in."""
        images = self.browser.find_elements("css selector", ".stage img:not(.heat)")
        return [urlsplit(image.get_attribute("src")).path.rpartition("/")[2] for image in images]

    def phone(self) -> None:
        metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    Image.fromarray(PHOTO).save(folder / "photo.png")
    with served(lit_rnncomp.load()) as port, chromium(folder / "chromium") as browser:
        browser.get(f"http://127.0.0.1:{port}/")
        yield Page(browser, folder / "photo.png")


def test_each_side_shows_what_is_chosen_for_it(page: Page) -> None:
    page.choose("left", "ours")
    page.choose("right", "jpeg420")
    assert page.shown() == ["ours", "jpeg420"]
    page.choose("left", "webp")
    assert page.shown() == ["webp", "jpeg420"] and page.tags() == ["WebP", "JPEG 4:2:0"]
    page.choose("left", "jpeg420")  # what stood there goes to the other side
    assert page.shown() == ["jpeg420", "webp"] and page.find("#right").get_attribute("value") == "webp"
    page.find("#flip").click()
    assert page.tags() == ["JPEG 4:2:0"]
    page.find("#flip").click()
    assert page.tags() == ["WebP"]
    page.find("#split").click()
    page.choose("left", "ours")
    assert page.shown() == ["ours", "webp"]


def test_the_heat_map_leaves_the_picture_to_be_seen_and_says_its_bits(page: Page) -> None:
    page.choose("left", "ours")
    page.find("#map").click()
    page.wait("files.map && !document.querySelector('.heat').hidden && $('progress').hidden")
    assert float(page.run("getComputedStyle(document.querySelector('.heat')).opacity")) <= 0.5
    most = page.run("files.map.most")
    # The map shows square roots, so that a third of the way is a ninth of the bits.
    bits = [int(mark.text) for mark in page.browser.find_elements("css selector", "#marks span")]
    assert bits == [round(most * part) for part in (0, 1 / 9, 4 / 9, 1)]
    heat = page.find(".heat")
    page.choose("right", "ours")
    assert heat.get_attribute("data-half") == "right" and heat.is_displayed()
    page.choose("right", "original")
    page.choose("left", "webp")
    assert not heat.is_displayed() and not page.find("#legend").is_displayed()
    page.choose("left", "ours")
    page.find("#map").click()
    assert not heat.is_displayed()


def test_nothing_is_empty_above_the_pictures(page: Page) -> None:
    gap = "$('viewer').getBoundingClientRect().top - $('samples').getBoundingClientRect().bottom"
    before = page.run(gap)
    assert page.find("#status").text == "" and before < 20
    page.run("say('Reading the photograph.')")
    assert page.find("#status").is_displayed() and page.run(gap) == before  # nothing jumps
    page.run("say('')")


def test_names_of_what_was_before_have_room_on_a_phone(page: Page) -> None:
    page.phone()
    page.choose("left", "ours")
    page.choose("right", "jpeg420")
    page.run("Object.values(files).forEach(file => { file.stale = true; }), refresh()")
    boxes = [tag.rect for tag in page.browser.find_elements("css selector", ".tag")]
    width = page.run("document.querySelector('.stage').clientWidth")
    assert [tag.splitlines()[1:] for tag in page.tags()] == [["(before)"], ["(before)"]]
    assert all(box["width"] < 0.3 * width for box in boxes), boxes
    page.run("Object.values(files).forEach(file => { file.stale = false; }), refresh()")
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_long_names_fit_on_a_phone(page: Page) -> None:
    page.phone()
    options = "[...document.querySelectorAll('#left option, #right option')]"
    names = page.run(f"{options}.map(option => option.textContent)")
    page.run(f"{options}.forEach(option => {{ option.textContent = 'residual_gru_of_a_long_name'; }})")
    ends = [page.run(f"$('{part}').getBoundingClientRect().right") for part in ("left", "right", "viewer")]
    assert max(ends[:2]) < ends[2] <= 390, ends
    page.run(f"{options}.forEach((option, k) => {{ option.textContent = {names}[k]; }})")
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_finger_drags_the_divider(page: Page) -> None:
    page.run("moveDivider(.5)")
    bar = page.run("document.querySelector('.divider').getBoundingClientRect().toJSON()")
    x, y, width = bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 3, page.find(".stage").rect["width"]
    for kind, shift in (("touchStart", 0.0), ("touchMove", 0.1), ("touchMove", 0.25), ("touchEnd", None)):
        points = [] if shift is None else [{"x": x + shift * width, "y": y}]
        page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert page.run("view.divider") == pytest.approx(0.75, abs=0.01)


def test_a_file_is_dropped(page: Page, tmp_path: Path) -> None:
    Image.fromarray(PHOTO[:96]).save(tmp_path / "dropped.png")
    data = {"items": [], "files": [str(tmp_path / "dropped.png")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 120, "data": data})
        assert page.run("document.body.classList.contains('over')") == (kind != "drop")
    page.wait("photo.name === 'dropped.png' && photo.height === 96 && files.webp && $('progress').hidden")
