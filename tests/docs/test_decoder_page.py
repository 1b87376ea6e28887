"""The page that shows an `.rnnc` file, in Chromium."""

from __future__ import annotations

import base64
import functools
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from helpers import ternary_models
from helpers.browsers import chromium
from helpers.pages import ROOT

import lit_rnncomp
from lit_rnncomp.codec import container, ternary_weights, zoo

pytestmark = pytest.mark.slow

PHOTO = ternary_models.picture(70, 110)


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the repository's files, as a site of documentation has them."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(ROOT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        driver.set_script_timeout(120)
        yield driver


@pytest.fixture
def page(driver: Any, site: str) -> Iterator[Any]:
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(f"{site}/docs/decoder/index.html")
    wait(driver, lambda: "made by model" in find(driver, "wanted").text)
    yield driver
    # Only the tests read the canvas back, which Chromium would like to have been told.
    log = [entry for entry in driver.get_log("browser") if "will-read-frequently" not in entry["message"]]
    assert not [entry for entry in log if entry["level"] in ("SEVERE", "WARNING")]


def find(driver: Any, name: str) -> Any:
    return driver.find_element("id", name)


def wait(driver: Any, condition: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 120).until(lambda _: condition())


def choose(driver: Any, *paths: Path) -> None:
    find(driver, "files").send_keys("\n".join(map(str, paths)))


def shown(driver: Any) -> np.ndarray:
    """The picture on the canvas, `(H, W, 3)`."""
    text = driver.execute_script(
        "const c = document.getElementById('canvas');"
        "const {data} = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "return [c.height, c.width, btoa(Array.from(data, (x) => String.fromCharCode(x)).join(''))]"
    )
    return np.frombuffer(base64.b64decode(text[2]), np.uint8).reshape(text[0], text[1], 4)[..., :3].astype(int)


def done(driver: Any) -> bool:
    return "Decoded." in find(driver, "status").text


def test_it_shows_a_file_as_it_sharpens(page: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    codec = lit_rnncomp.load()
    path = tmp_path / "photo.rnnc"
    path.write_bytes(codec.encode(PHOTO, quality=60))
    choose(page, path)
    wait(page, lambda: done(page))
    pictures = list(codec.decode_progressive(path.read_bytes()))
    count, size = len(pictures), path.stat().st_size
    assert find(page, "size").text == "110 \N{MULTIPLICATION SIGN} 70"
    assert find(page, "iteration").text == f"{count} of {count}"
    assert find(page, "bytes").text == f"{size:,}" and find(page, "bpp").text == f"{8 * size / PHOTO.size * 3:.3f}"
    for k in reversed(range(count)):
        assert find(page, "iteration").text == f"{k + 1} of {count}"
        assert np.abs(shown(page) - np.asarray(pictures[k], int)).max() <= 1
        find(page, "slider").send_keys(Keys.ARROW_LEFT)
    assert int(find(page, "bytes").text) == len(container.cut(path.read_bytes(), iterations=1))


def test_codes_in_the_browser_are_ours(page: Any, site: str) -> None:
    codec = lit_rnncomp.load()
    data = codec.truncate(codec.encode(PHOTO, step=2000, tune="psnr"), bpp=1.5)
    given = page.execute_async_script(
        """
        const [address, weights, data, done] = arguments;
        const {Model, readWeights} = await import(address + "/docs/decoder/rnnc.js");
        const answer = await fetch(address + "/lit_rnncomp/zoo/" + weights);
        const model = new Model(await readWeights(new Uint8Array(await answer.arrayBuffer())));
        const levels = [];
        for await (const step of model.decode(Uint8Array.from(atob(data), (x) => x.charCodeAt(0)))) {
          levels.push([...step.levels]);
        }
        done(levels);
        """,
        site,
        zoo.find(None).name,
        base64.b64encode(data).decode(),
    )
    states = codec.states(container.parse(data), None, False)  # type: ignore[union-attr]
    np.testing.assert_array_equal(np.array(given), np.stack([state.after.flatten() for state in states]))


def test_other_weights_and_damaged_files(page: Any, tmp_path: Path) -> None:
    codec = ternary_models.codec()
    model, path, damaged = tmp_path / "small.safetensors", tmp_path / "small.rnnc", tmp_path / "damaged.rnnc"
    ternary_weights.save(model, ternary_weights.TernaryWeights(codec.tensors, []))
    path.write_bytes(codec.encode(PHOTO, step=1500))
    damaged.write_bytes(path.read_bytes()[:-3])
    choose(page, path)
    wait(page, lambda: f"made by model {codec.digest.hex()}" in find(page, "status").text)
    assert "error" in find(page, "status").get_attribute("class")
    choose(page, model)
    wait(page, lambda: done(page))
    assert np.abs(shown(page) - np.asarray(codec.decode(path.read_bytes()), int)).max() <= 1
    choose(page, damaged)
    wait(page, lambda: "the file ends inside chunk" in find(page, "status").text)
    assert not find(page, "picture").is_displayed()


def test_weights_that_are_not_there_are_asked_for(driver: Any, site: str) -> None:
    codec = lit_rnncomp.load()
    data = codec.encode(PHOTO, quality=30)
    file = quote(f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}")
    driver.get(f"{site}/docs/decoder/index.html?weights=nowhere.safetensors&file={file}")
    wait(driver, lambda: "Choose or drop the weights" in find(driver, "status").text)
    choose(driver, zoo.find(None))
    wait(driver, lambda: done(driver))
    assert np.abs(shown(driver) - np.asarray(codec.decode(data), int)).max() <= 1


def test_a_dropped_file_takes_the_place_of_the_one_before(page: Any) -> None:
    codec = lit_rnncomp.load()
    large, small = (codec.encode(ternary_models.picture(*size), quality=50) for size in ((400, 600), (40, 50)))
    drop = """
        const transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(arguments[0]), (x) => x.charCodeAt(0));
        transfer.items.add(new File([bytes], "dropped.rnnc"));
        document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
    """
    for data in (large, small):
        page.execute_script(drop, base64.b64encode(data).decode())
    wait(page, lambda: done(page) and "50" in find(page, "size").text)
    assert find(page, "slider").get_attribute("max") == str(len(container.parse(small).iterations))
    assert np.abs(shown(page) - np.asarray(codec.decode(small), int)).max() <= 1


@pytest.mark.parametrize("width", [390, 1400])
def test_it_fits_the_window(page: Any, site: str, tmp_path: Path, width: int) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    path = tmp_path / "wide.rnnc"
    path.write_bytes(lit_rnncomp.load().encode(ternary_models.picture(80, 640), step=1000))
    choose(page, path)
    wait(page, lambda: done(page))
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    colours = []
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        colours.append(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(251, 251, 250)", "rgb(22, 22, 21)"]
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_shipped_weights_are_the_ones_it_looks_for() -> None:
    page = ROOT / "docs" / "decoder" / "index.html"
    (address,) = re.findall(r'SHIPPED = "(.*)"', page.read_text())
    assert (page.parent / address).resolve() == zoo.find(None)
