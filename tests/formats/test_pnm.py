"""PNM and PAM files of every maximum."""

from __future__ import annotations

import io

import numpy as np
import pytest

from lit_rnncomp.images import ImageError, read_image, read_photograph

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("most", [1, 3, 100, 127, 255, 256, 1000, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_pnm_of_any_maximum(most: int, kind: int) -> None:
    samples = RANDOM.integers(0, most + 1, (3, 4, 3 if kind in (3, 6) else 1))
    head = f"P{kind} 4 3 {most}\n".encode()
    body = samples.astype(">u2" if most > 255 else ">u1").tobytes()
    plain = " ".join(map(str, samples.ravel().tolist())).encode() + b"\n"
    got = np.asarray(read_image(io.BytesIO(head + (plain if kind < 4 else body))))
    assert np.abs(got - samples / most * 255).max() <= 1


TYPES = {"BLACKANDWHITE": 1, "GRAYSCALE": 1, "GRAYSCALE_ALPHA": 2, "RGB": 3, "RGB_ALPHA": 4}


def pam(samples: np.ndarray, most: int, kind: str) -> bytes:
    height, width, depth = samples.shape
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\n# mine\n\nDEPTH {depth}\nMAXVAL {most}\nTUPLTYPE {kind}\nENDHDR\n"
    return head.encode() + samples.astype(">u2" if most > 255 else ">u1").tobytes()


@pytest.mark.parametrize("most", [1, 3, 100, 255, 256, 4095, 65535])
@pytest.mark.parametrize("kind", TYPES)
def test_pam_of_any_maximum(most: int, kind: str) -> None:
    samples = RANDOM.integers(0, most + 1, (3, 4, TYPES[kind]))
    photograph = read_photograph(io.BytesIO(pam(samples, most, kind)))
    shown = samples / most * 255
    if kind.endswith("ALPHA"):
        assert np.abs(np.asarray(photograph.alpha) - shown[..., -1]).max() <= 1
        shown = shown[..., :-1]
    assert np.abs(np.asarray(photograph.colours) - shown).max() <= 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pam(np.zeros((3, 4, 2)), 255, "RGB"), "2 values up to 255 and type RGB have no rule"),
        (pam(np.zeros((3, 4, 3)), 255, "SPECTRUM"), "type SPECTRUM have no rule"),
        (pam(np.zeros((3, 4, 3)), 255, "RGB")[:-1], "the file is cut"),
        (pam(np.zeros((3, 4, 3)), 255, "RGB")[:40], "its header has no end"),
        (b"P7\nWIDTH 4\nENDHDR\n", "does not say width, height, depth"),
        (b"P7\nWIDTH 99999\nHEIGHT 99999\nDEPTH 1\nMAXVAL 255\nTUPLTYPE GRAYSCALE\nENDHDR\n", "exceeds limit"),
    ],
)
def test_what_is_no_pam_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_image(io.BytesIO(data))
