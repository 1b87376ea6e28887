"""The demo: a real server, spoken to as by a browser and by others, and clicked through in Chromium."""

from __future__ import annotations

import http.client
import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from helpers import ternary_models
from helpers.browsers import chromium
from PIL import Image

pytest.importorskip("uvicorn", reason="needs lit-rnncomp[demo]")

from helpers.served import served

import lit_rnncomp
from lit_rnncomp.demo import app as app_module
from lit_rnncomp.demo import jobs
from lit_rnncomp.demo.app import PLAIN
from lit_rnncomp.demo.guard import Guard

PHOTO = ternary_models.picture(180, 240)


def file_of(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(lit_rnncomp.load()) as port:
        yield port


def request(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Content-Type": PLAIN, **named})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def upload(port: int, data: bytes, name: str = "photo.png") -> dict[str, Any]:
    status, answer = request(port, "POST", f"/photos?name={name}", data)
    assert status == 200, answer
    return json.loads(answer)


def lines(answer: bytes) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in answer.splitlines()]
    assert not [line for line in found if "error" in line], found
    return {line["name"]: line for line in found if "name" in line}


def test_files_are_what_the_codec_makes(port: int) -> None:
    codec = lit_rnncomp.load()
    photo = upload(port, file_of(PHOTO))
    place = f"/photos/{photo['id']}/psnr/40"
    said = lines(request(port, "GET", place + "?map")[1])
    assert list(said) == ["ours", "jpeg420", "webp", "map"]
    data = request(port, "GET", place + "/ours/file")[1]
    assert data == codec.encode(PHOTO, quality=40, tune="psnr") and said["ours"]["bytes"] == len(data)
    decoded = np.asarray(codec.decode(data))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(request(port, "GET", place + "/ours")[1]))), decoded)
    error = np.square(decoded.astype(float) - PHOTO).mean()
    assert said["ours"]["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
    assert said["map"]["most"] == pytest.approx(codec.spent(data).max())
    for name, kind in (("jpeg420", "JPEG"), ("webp", "WEBP")):
        other = request(port, "GET", f"{place}/{name}")[1]
        assert Image.open(io.BytesIO(other)).format == kind and len(other) == said[name]["bytes"] <= len(data)
    assert lines(request(port, "GET", place + "?map")[1]) == said


def test_transparency_is_laid_over_white_and_models_of_binary_codes_go_by_iterations() -> None:
    codec = lit_rnncomp.load("residual_gru_dct64")
    alpha = np.full(PHOTO.shape[:2], 255, np.uint8)
    alpha[:40], alpha[40:80] = 0, 128
    share = alpha[..., None] / 255
    white = share * PHOTO + (1 - share) * 255
    with served(codec) as port:
        photo = upload(port, file_of(np.dstack([PHOTO, alpha])))
        assert photo["notes"] == ["Transparency is laid over white."]
        place = f"/photos/{photo['id']}/visual/3"
        said = lines(request(port, "GET", place + "?map")[1])
        assert list(said) == ["ours", "jpeg420", "webp"]
        shown = np.asarray(Image.open(io.BytesIO(request(port, "GET", f"/photos/{photo['id']}")[1])))
        np.testing.assert_allclose(shown, white, rtol=0, atol=1)
        assert request(port, "GET", place + "/ours/file")[1] == codec.encode(shown, iterations=3)
        assert request(port, "GET", f"/photos/{photo['id']}/visual/17")[0] == 404


def test_large_photographs_are_scaled_down_and_it_is_said(port: int) -> None:
    photo = upload(port, file_of(ternary_models.picture(400, 500), "JPEG"), "a.jpg")
    assert photo["width"] * photo["height"] <= 100_000 and "500 x 400" in photo["notes"][0]


@pytest.mark.parametrize("data", [b"", b"no picture", file_of(PHOTO)[:500], b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_bad_uploads_are_one_line_and_the_server_goes_on(port: int, data: bytes) -> None:
    status, answer = request(port, "POST", "/photos?name=bad.png", data)
    error = json.loads(answer)["error"]
    assert status == 422 and error.startswith("cannot read bad.png: ") and "\n" not in error
    upload(port, file_of(PHOTO))


def test_what_claims_too_much_is_refused(port: int) -> None:
    huge = bytearray(file_of(PHOTO, "BMP"))
    huge[18:26] = (9000).to_bytes(4, "little") * 2
    status, answer = request(port, "POST", "/photos?name=huge.bmp", bytes(huge))
    assert status == 422 and b"81 megapixels are more than 80" in answer
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/photos")
    for name, value in (("Content-Type", PLAIN), ("Content-Length", str(app_module.UPLOAD_BYTES + 1))):
        connection.putheader(name, value)
    connection.endheaders(b"x")
    answer = connection.getresponse()
    assert answer.status == 413 and "more than 30 MB" in json.loads(answer.read())["error"]
    connection.close()


def test_nobody_else_is_answered(port: int) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "192.168.1.5"):
        assert request(port, "GET", "/", Host=host)[0] == 400, host
    for host in ("127.0.0.1", f"localhost:{port}", "[::1]:1"):
        assert request(port, "GET", "/", Host=host)[0] == 200, host
    assert request(port, "POST", "/photos", file_of(PHOTO), Content_Type="text/plain")[0] == 415
    for path in ("/../pyproject.toml", "/samples/..%2f..%2fREADME.md", "/etc/passwd", "/photos/x", "/photos/x/psnr/1"):
        assert request(port, "GET", path)[0] == 404, path
    everywhere = Guard(lambda *_: None, "0.0.0.0")  # type: ignore[arg-type,return-value]
    assert everywhere.answers("192.168.1.5:8000") and not everywhere.answers("evil.example")


def test_the_newest_takes_the_place_of_the_others(port: int) -> None:
    photo = upload(port, file_of(PHOTO))
    first: list[bytes] = []
    old = threading.Thread(target=lambda: first.append(request(port, "GET", f"/photos/{photo['id']}/visual/99?map")[1]))
    old.start()
    time.sleep(0.1)
    assert "webp" in lines(request(port, "GET", f"/photos/{photo['id']}/visual/5")[1])
    old.join(60)
    assert json.loads(first[0].splitlines()[-1]) == {"error": app_module.NEWER}


def test_what_takes_too_long_ends_in_one_line(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = upload(port, file_of(PHOTO))
    monkeypatch.setattr(jobs, "SECONDS", 0.0)
    last = request(port, "GET", f"/photos/{photo['id']}/visual/90")[1].splitlines()[-1]
    assert "took longer than 0 seconds" in json.loads(last)["error"]


def test_the_verb_names_its_address_and_ends_by_ctrl_c() -> None:
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", "demo", "--port", "0", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().split()[0])
        assert address.port is not None and request(address.port, "GET", "/")[0] == 200
        taken = subprocess.run([*command, "--port", str(address.port)], capture_output=True, text=True, timeout=60)
        assert taken.returncode == 2 and taken.stderr.count("\n") == 1 and "cannot listen at" in taken.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0 and "Traceback" not in process.communicate()[1]
    finally:
        process.kill()
        process.communicate()


def test_click_through(port: int, tmp_path: Path) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    codec = lit_rnncomp.load()
    (tmp_path / "photo.png").write_bytes(file_of(PHOTO))
    with chromium(tmp_path / "chromium") as browser:
        browser.get(f"http://127.0.0.1:{port}/")
        browser.get_log("performance")

        def find(css: str) -> Any:
            return browser.find_element("css selector", css)

        def wait(what: str) -> None:
            WebDriverWait(browser, 60).until(lambda _: browser.execute_script(f"return {what}"))

        find("#choose").send_keys(str(tmp_path / "photo.png"))
        wait("files.webp && !files.webp.stale")
        before = int(find("#numbers tr[data-name=ours] td:nth-child(2)").text.replace(",", ""))
        find("#slider").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        wait("files.webp && !files.webp.stale && files.ours.setting === 52")
        assert int(find("#numbers tr[data-name=ours] td:nth-child(2)").text.replace(",", "")) > before
        find(".divider").send_keys(Keys.ARROW_LEFT)
        assert find(".divider").get_attribute("aria-valuenow") == "48"
        find("body").send_keys("f")
        assert find(".tag").text == codec.name
        find("body").send_keys("f")
        assert find(".tag").text == "JPEG 4:2:0" and find(".stage img").get_attribute("src").endswith("/jpeg420")
        find("body").send_keys("f")
        find("#map").click()
        wait("files.map && !document.querySelector('.heat').hidden")
        source = urlsplit(find(".stage img").get_attribute("src")).path
        assert find("#download").get_attribute("download") == "photo.rnnc"
        data = request(port, "GET", urlsplit(find("#download").get_attribute("href")).path)[1]
        shown = np.asarray(Image.open(io.BytesIO(request(port, "GET", source)[1])))
        np.testing.assert_array_equal(np.asarray(codec.decode(data)), shown)
        (tmp_path / "bad.png").write_bytes(b"no picture")
        find("#choose").send_keys(str(tmp_path / "bad.png"))
        wait("document.getElementById('status').textContent.startsWith('cannot read bad.png')")
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        urls = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
        assert {urlsplit(url).hostname for url in urls} <= {"127.0.0.1", None}
        log = [entry for entry in browser.get_log("browser") if "422" not in entry["message"]]
        assert not [entry for entry in log if entry["level"] in ("SEVERE", "WARNING")], log
