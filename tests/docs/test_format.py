"""docs/format.md says what the code does: its example, its numbers, its tables of tensors."""

from __future__ import annotations

import re
import zlib

import numpy as np
import pytest
from helpers.pages import ROOT
from safetensors import safe_open

from lit_rnncomp.codec import container, metadata, zoo
from lit_rnncomp.codec.container import Ternary
from lit_rnncomp.codec.ternary_weights import TUNE_WEIGHTS
from lit_rnncomp.models import lapped, ternary

PAGE = (ROOT / "docs" / "format.md").read_text()


def section(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE).group(1)  # type: ignore[union-attr]


def rows(text: str) -> list[list[str]]:
    """The cells of tables."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)
    ]


def test_the_example_is_a_file() -> None:
    data = bytes.fromhex(re.search(r"```\n(52 4e.*?)```", PAGE, re.DOTALL).group(1))  # type: ignore[union-attr]
    file = container.parse(data)
    assert (file.header.width, file.header.height, file.header.grey) == (1, 1, True)
    assert file.header.layout == Ternary(1, 0xB0, 1)
    assert [len(chunk.payload) for chunk in file.chunks] == [7, 7, 3, 3]
    unchecked, at = file.head[:-4], len(file.head)
    for chunk in file.chunks:
        unchecked += data[at : at + chunk.size - 4]
        at += chunk.size
        assert data[at - 4 : at] == zlib.crc32(unchecked).to_bytes(4, "little"), "the CRC-32 of all but checksums"


def test_kinds_and_limits() -> None:
    text = section("Container")
    assert f"most {container.MAX_CHUNKS} chunks" in text.replace("\n", " ") and "format version, 2" in text
    kinds = dict(
        row for row in rows(text) if len(row) == 2 and row[0].isdigit() and len(row[0]) == 1 and row[0] in "01234"
    )
    assert "ends early" in kinds[str(container.CUT)] and kinds[str(container.METADATA)] == "metadata"
    assert kinds[str(container.SCALES)] == "map of scales" and kinds[str(container.ITERATION)] == "an iteration"
    named = ("ICC profile", "Exif", "XMP", "alpha channel")
    assert len(named) == len(metadata.KINDS)
    assert all(f"{index} {name}" in text for index, name in enumerate(named))


def test_groups_and_magnitudes() -> None:
    text = section("Ternary codes")
    assert [int(size) for _, size, _ in rows(text)[2:]] == [len(group) for group in ternary.groups()]
    listed = re.search(r"m: ([\d, ]+)", text).group(1)  # type: ignore[union-attr]
    first = [int(number) for number in listed.strip(", ").split(",")]
    assert first == ternary.magnitudes()[: len(first)].tolist() and len(first) == 9


def test_the_butterfly_and_the_colours() -> None:
    text = section("Picture")
    listed = re.search(r"first row is ([\d. -]+\d)", text.replace("\n", " ")).group(1)  # type: ignore[union-attr]
    np.testing.assert_allclose([float(x) for x in listed.split()], lapped.butterfly()[0], atol=5e-7)
    inverse = np.linalg.inv(lapped._YCBCR)
    found = [float(x.replace(" ", "")) for x in re.findall(r"[+-] \d\.\d{14,}", text)]
    np.testing.assert_allclose(found, [inverse[0, 2], inverse[1, 1], inverse[1, 2], inverse[2, 1]], atol=1e-13)
    assert np.abs([inverse[0, 1], inverse[2, 2]]).max() < 2e-6
    table = [[int(cell) for cell in row] for row in rows(text) if len(row) == 8 and row[0].isdigit()]
    np.testing.assert_array_equal(table, lapped.JPEG_LUMINANCE)


@pytest.mark.parametrize(
    "model",
    ["ternary64_5h", "ternary64_9h", "ternary64_11h", zoo.DEFAULT],
    ids=["one stage", "two stages", "a filter", "split blocks"],
)
def test_the_tensors_are_those_of_the_shipped_weights(model: str) -> None:
    with safe_open(zoo.find(model), "np") as file:
        actual = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    of_two = any(".coarse." in name for name in actual)
    bands = {False: ternary.bands(1 + of_two), True: ternary.coarse_bands()}
    of_second = {"384": 96, "192": 48, "44": 52}
    known, prefix = {}, ""
    for name, shape, *kind in rows(section("Weights")):
        if "`" not in name or shape == "shape":
            prefix = (re.findall(r"`(\w+\.)`", name) or [prefix])[0]
        else:
            stem = re.findall(r"`(.*?)`", name)[0]
            known[prefix + stem] = (shape, kind)
    weighting = actual.pop(TUNE_WEIGHTS, np.zeros((2, 192), np.float32))
    assert f"`{TUNE_WEIGHTS}`, `{weighting.shape}`, F{8 * weighting.dtype.itemsize}" in section("Weights")
    for tensor_name, tensor in actual.items():
        second = ".coarse." in tensor_name
        name = tensor_name.replace(".coarse.", ".")  # the second stage has all of the first's
        stem = re.sub(r"\.\d\.", ".k." if re.search("wide|back", name) else ".i.", name)
        if stem.endswith((".bias", ".exponent")) and stem not in known:
            assert re.sub(r"\.\w+$", ".weight", stem) in known
            continue
        shape, kind = known[stem]
        number = re.search(r"\.(\d)\.", name)
        passes = bands[second].groups
        size = len(passes[ternary.PASSES[int(number.group(1))][0]]) if number and ".i." in stem else 0
        channels = actual[f"{name.split('.')[0]}.stem.bias"].size
        values = {"C": channels, "3 C": 3 * channels, "2 n": 2 * size, **(of_second if second else {})}
        assert tensor.shape == tuple(values.get(x) or int(x) for x in shape.split(", ")), tensor_name
        assert not kind or kind[0] == f"I{8 * tensor.dtype.itemsize}", tensor_name
    if "filter.stem.weight" not in actual:
        known = {name: row for name, row in known.items() if not name.startswith("filter.")}
    if "context.place.table" not in actual:
        known = {name: row for name, row in known.items() if not name.endswith("place.table")}
    # Every row is of some tensor.
    stems = {re.sub(r"\.\d\.", ".", name) for name in actual}
    assert {re.sub(r"\.[ik]\.", ".", name) for name in known} <= stems
