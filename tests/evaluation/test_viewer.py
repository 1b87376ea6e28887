"""The report page alive in a real browser (Chromium, headless), where there is one."""

import base64
import io
import json
import re

import numpy as np
import pytest
from helpers.browsers import chromium
from PIL import Image

from lit_rnncomp.evaluation.evaluate import evaluate
from lit_rnncomp.evaluation.report import report

TIMES = "\N{MULTIPLICATION SIGN}"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def browser(driver, page):
    driver.set_window_size(1280, 1000)
    driver.get("about:blank")
    for log in ("browser", "performance"):
        driver.get_log(log)  # Chromium's own start page, or the last test's
    driver.get(page.as_uri())
    yield driver
    errors = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert not errors, errors
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    fetched = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url.split(":")[0] for url in fetched} <= {"file", "data"}, "the page fetches nothing from outside"


def find(browser, css):
    return browser.find_element("css selector", css)


def captions(browser):
    return [element.text for element in browser.find_elements("css selector", "#panes figcaption")]


def sources(browser):
    return [element.get_attribute("src") for element in browser.find_elements("css selector", "#panes img")]


def press(browser, *keys):
    find(browser, "body").send_keys(*keys)


def loaded(browser):
    """Every picture on show has pixels."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#panes img')].every(i => i.complete && i.naturalWidth > 0)"
    )


def move_slider(browser, value):
    script = "const s = arguments[0]; s.value = arguments[1]; s.dispatchEvent(new Event('input'));"
    browser.execute_script(script, find(browser, "#slider"), value)


def test_the_slider_changes_pictures_and_numbers(browser, content):
    points = content["pictures"][0]["models"]["tiny"]
    seen = []
    for k, point in enumerate(points):
        move_slider(browser, k + 1)
        assert loaded(browser)
        original, ours, jpeg = captions(browser)
        assert original.startswith("original")
        assert f"{point['bytes']:,} bytes" in ours and f"{point['psnr']:.2f}" in ours and f"{k + 1} iteration" in ours
        assert jpeg.startswith("JPEG 4:2:0")
        assert f"iteration {k + 1} of 3: {point['bytes']:,} bytes" in find(browser, "#rate").text
        assert sources(browser)[1] == point["src"]
        seen.append(sources(browser)[1])
    assert len(set(seen)) == 3


def test_the_slider_itself_takes_keys_and_clicks(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    slider = find(browser, "#slider")
    ActionChains(browser).move_to_element_with_offset(slider, -slider.size["width"] // 2 + 4, 0).click().perform()
    assert "iteration 1 of 3" in find(browser, "#rate").text
    press(browser, Keys.ARROW_RIGHT)
    assert "iteration 2 of 3" in find(browser, "#rate").text
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert "iteration 3 of 3" in find(browser, "#rate").text and slider.get_attribute("value") == "3"
    press(browser, Keys.ARROW_LEFT)
    assert "iteration 2 of 3" in find(browser, "#rate").text


def test_pictures_are_chosen_by_click_and_key(browser, content):
    from selenium.webdriver.support.ui import Select

    thumbs = browser.find_elements("css selector", "#thumbs button")
    assert len(thumbs) == 2
    first = sources(browser)
    thumbs[1].click()
    assert sources(browser)[0] == content["pictures"][1]["original"] != first[0]
    assert f"201 {TIMES} 177" in captions(browser)[0]
    press(browser, "p")
    assert sources(browser) == first
    before = captions(browser)[2]
    Select(find(browser, "#codec")).select_by_visible_text("WebP")
    assert captions(browser)[2].startswith("WebP") and captions(browser)[2] != before and loaded(browser)


def test_split_view_with_its_divider(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import Select

    press(browser, "s")
    assert len(sources(browser)) == 2 and len(captions(browser)) == 1 and loaded(browser)
    right = browser.find_elements("css selector", "#panes img")[1]
    assert "50%" in right.get_attribute("style")
    ActionChains(browser).drag_and_drop_by_offset(find(browser, ".divider"), -200, 0).perform()
    assert "50%" not in right.get_attribute("style")
    Select(find(browser, "#right")).select_by_value("original")
    assert find(browser, ".tag:last-of-type").text == "original"
    find(browser, "#side").click()
    assert len(captions(browser)) == 3


def test_the_divider_moves_by_keys(browser):
    from selenium.webdriver.common.keys import Keys

    press(browser, "s")
    divider = find(browser, ".divider")
    assert divider.get_attribute("role") == "slider" and divider.get_attribute("aria-valuenow") == "50"
    before = find(browser, "#rate").text
    divider.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert divider.get_attribute("aria-valuenow") == "46"
    assert find(browser, "#rate").text == before, "its arrows do not change the iteration"
    divider.send_keys(Keys.END)
    assert divider.get_attribute("aria-valuenow") == "100"
    press(browser, "[")
    assert divider.get_attribute("aria-valuenow") == "98"


def test_a_key_flips_between_the_two(browser, content):
    first = content["pictures"][0]
    jpeg = first["codecs"]["jpeg420"]
    k = int(find(browser, "#slider").get_attribute("value")) - 1
    expected = [first["models"]["tiny"][k]["src"], jpeg["files"][jpeg["match"]["tiny"][k]]["src"]]
    press(browser, "f")
    assert sources(browser) == expected[:1] and find(browser, ".tag").text.startswith("tiny")
    press(browser, "f")
    assert sources(browser) == expected[1:] and find(browser, ".tag").text.startswith("JPEG 4:2:0")
    press(browser, "f")
    assert sources(browser) == expected[:1] and len(captions(browser)) == 1 and loaded(browser)


def test_difference_maps_are_of_the_true_pictures(browser, content, results):
    first = content["pictures"][0]
    k = int(find(browser, "#slider").get_attribute("value")) - 1
    press(browser, "d")
    shown = sources(browser)
    assert shown[0] == first["original"] and shown[1] == first["models"]["tiny"][k]["difference"] and loaded(browser)
    assert find(browser, "#difference").get_attribute("aria-pressed") == "true"
    press(browser, "d")
    assert sources(browser)[1] == first["models"]["tiny"][k]["src"]
    kept = results / "frames" / "astronaut.png"
    pair = [Image.open(path).convert("RGB") for path in (kept / "original.webp", kept / "tiny" / f"{k + 1:03d}.webp")]
    a, b = (np.asarray(image, dtype=float) for image in pair)
    true = (8 * np.abs(a - b)).clip(0, 255).mean()
    data = base64.b64decode(shown[1].split(",")[1])
    assert np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float).mean() == pytest.approx(true, rel=0.05)


def test_the_viewer_says_where_the_model_is_behind(browser, content):
    lead = find(browser, "#lead").text
    assert lead.startswith("astronaut.png, tiny against JPEG 4:2:0")
    means = content["pictures"][0]["means"]
    behind = means["jpeg420"]["psnr"] - means["tiny"]["psnr"]
    assert behind > 0 and f"PSNR {behind:.2f} dB behind" in lead


def test_the_chart_has_its_points_as_a_table(browser, content):
    browser.execute_script("document.querySelector('details').open = true")
    rows = browser.find_elements("css selector", "#points tbody tr")
    assert len(rows) == sum(len(curve["points"]["ms_ssim"]) for curve in content["curves"])
    bpp, value, setting = content["curves"][0]["points"]["ms_ssim"][0]
    cells = [cell.text for cell in rows[0].find_elements("css selector", "td")]
    assert cells[:4] == ["tiny", setting, f"{bpp:.4f}", f"{value:.3f}"]
    find(browser, "#metrics button:nth-child(2)").click()
    assert find(browser, "#points th:last-child").text == "PSNR, dB"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_of_controls_have_contrast(browser, scheme):
    """At least 3:1 with what they are on (WCAG 2, 1.4.11)."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    try:
        for css in ("#out", "#codec", ".card"):
            script = "const s = getComputedStyle(arguments[0]); return [s.borderTopColor, s.backgroundColor]"
            dark, light = sorted(map(luminance, browser.execute_script(script, find(browser, css))))
            assert (light + 0.05) / (dark + 0.05) >= 3, css
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_zoom_moves_all_pictures_alike(browser):
    def transforms():
        return {
            element.get_attribute("style").split("transform:")[1].split(";")[0]
            for element in browser.find_elements("css selector", "#panes img")
        }

    press(browser, "+", "+", "+")
    assert find(browser, "#zoom").text == f"4{TIMES}"
    (before,) = transforms()
    assert "scale(4)" in before
    from selenium.webdriver import ActionChains

    ActionChains(browser).drag_and_drop_by_offset(find(browser, ".stage"), 60, 30).perform()
    (after,) = transforms()
    assert after != before
    find(browser, "#out").click()
    assert find(browser, "#zoom").text == f"3{TIMES}"
    press(browser, "-", "-", "-")
    assert transforms() == {" translate(0%, 0%) scale(1)"}


def test_hovering_the_chart_says_values(browser):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    # On a busy machine the page may still be drawing.
    circle = WebDriverWait(browser, 30).until(lambda page: page.find_elements("css selector", "#chart g circle")[1:2])[
        0
    ]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", circle)
    ActionChains(browser).move_to_element(circle).perform()
    assert re.fullmatch(r"tiny, iterations 2: 0\.\d{3} bpp, [\d.]+ dB \(0\.\d{4}\)", find(browser, "#tip").text)
    lines = len(browser.find_elements("css selector", "#chart polyline"))
    find(browser, "#legend button:last-child").click()
    assert len(browser.find_elements("css selector", "#chart polyline")) == lines - 1
    find(browser, "#metrics button:nth-child(2)").click()
    assert find(browser, "#chart svg").get_attribute("aria-label") == "PSNR over bits per pixel"


def test_a_phone_shows_it_without_sideways_scrolling(browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        browser.refresh()
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 375
        visible = [
            element for element in browser.find_elements("css selector", "#panes figure") if element.is_displayed()
        ]
        assert len(visible) == 1 and find(browser, ".divider").is_displayed(), "the split view comes first"
        assert find(browser, "#split").get_attribute("aria-pressed") == "true"
        bar = find(browser, "#controls").rect
        assert bar["width"] <= 375 and find(browser, "#slider").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.filterwarnings("ignore:broken.png")
def test_results_without_a_model_have_curves_and_no_viewer(driver, results, photographs, tmp_path):
    evaluate(None, str(photographs), "jpeg420,webp", str(tmp_path), cache=str(results / "cache"), json=True)
    report(str(tmp_path), out=str(tmp_path / "report.html"))
    driver.get_log("browser")
    driver.get((tmp_path / "report.html").as_uri())
    assert not driver.get_log("browser")
    assert not find(driver, "#viewer-section").is_displayed()
    assert len(driver.find_elements("css selector", "#chart polyline")) == 2
