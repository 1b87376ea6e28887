"""Ternary codes as bytes: they come back, cost what the model says, can end after every segment, and never change."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import processors, ternary_models
from helpers.files import assembled
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_rnncomp.codec import container, ternary_weights
from lit_rnncomp.codec.container import BitstreamError, Chunk, Header, Ternary
from lit_rnncomp.codec.ternary_coder import End, TernaryCoder
from lit_rnncomp.models import dc_stage, ternary
from lit_rnncomp.models.dc_stage import DC

CODEC = ternary_models.codec()


def coefficients(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Integers, so that no float decides a code; large ones at low frequencies. `(rows, columns, 192)`."""
    random = np.random.RandomState(seed)
    u, v = np.divmod(np.arange(64), 8)
    sizes = np.tile(3000 // (1 + (u + v) ** 2), 3)
    return np.trunc(sizes * random.randint(-1000, 1001, (rows, columns, 192)) ** 3 / 10**9)


def codes_of(x: np.ndarray, first: int, last: int) -> list[np.ndarray]:
    known = [ternary.levels(x, t) for t in range(first, last + 2)]
    known[0] = np.zeros_like(known[0])
    return [(b - 2 * a).astype(np.int8) for a, b in pairwise(known)]


def coder(x: np.ndarray, first: int = 0) -> TernaryCoder:
    return TernaryCoder(CODEC.context, *x.shape[:2], 1, 70, first)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 10), st.integers(0, 2**31), st.floats(0, 1))
def test_codes_come_back(rows, columns, last, seed, size):
    x = np.trunc(size * coefficients(rows, columns, seed))
    encoder, decoder = coder(x), coder(x)
    for codes in codes_of(x, 0, last):
        sent = encoder.encode(codes)
        received = decoder.decode(sent.payload)
        np.testing.assert_array_equal(received.codes, codes)
        np.testing.assert_array_equal(encoder.context.levels, decoder.context.levels)
        assert sent.sent is None and received.sent is None
    np.testing.assert_array_equal(decoder.context.levels, ternary.levels(x, last + 1))


def test_the_payload_holds_the_information_and_no_more():
    x = coefficients(24, 30)
    encoder, total = coder(x), 0.0
    for codes in codes_of(x, 0, 9):
        information = encoder_at(encoder).information(codes).sum()
        bits = 8 * len(encoder.encode(codes).payload)
        assert information <= bits <= 1.005 * information + 8 * (3 + 8)
        total += bits
    assert total > 50_000, "enough for half a percent to mean something"


def test_codes_of_two_stages_come_back():
    """Those of the second stage before all others, from the first threshold on, also of a file that begins later."""
    codec, random = ternary_models.codec(stages=2), np.random.RandomState(5)
    for rows, columns, first in ((1, 1, 0), (5, 9, 0), (9, 11, 3)):
        x = coefficients(rows, columns) / 2**first
        x[..., DC] = 0
        coarse = 13000.0 * random.uniform(-1, 1, (*dc_stage.shape(rows, columns), dc_stage.COARSE)) ** 9
        coders = [TernaryCoder(codec.context, rows, columns, 1, 70, first, codec.coarse) for _ in range(2)]
        encoder, decoder = coders
        spent, size = np.zeros((rows, columns)), 0
        for codes in codes_of(x, first, 8):
            codes[..., DC] = 0
            sent = encoder.encode(codes, coarse=coarse)
            received = decoder.decode(sent.payload, spent=spent)
            size += len(sent.payload)
            np.testing.assert_array_equal(received.codes, codes)
            for one, other in zip(*((c.context, c.dc.context) for c in coders), strict=True):
                np.testing.assert_array_equal(one.levels, other.levels)
        np.testing.assert_array_equal(decoder.dc.context.levels, ternary.levels(coarse, 9, 70))
        threshold = 2048 / 2**8 / 2 ** (70 / 256)
        assert np.abs(decoder.dc.known() * threshold - dc_stage.synthesis(coarse, rows, columns)).max() < 8 * threshold
        np.testing.assert_array_equal(decoder.context.levels[..., DC], np.rint(decoder.dc.known()))
        assert abs(8 * size - spent.sum()) < 0.01 * spent.sum() + 9 * 8 * 8


@settings(max_examples=40, deadline=2000)
@given(st.lists(st.binary(max_size=90), min_size=1, max_size=11))
def test_any_payload_of_two_stages_ends_in_codes_or_the_typed_error(payloads):
    codec = ternary_models.codec(stages=2)
    decoder = TernaryCoder(codec.context, 9, 5, 1, 9, 0, codec.coarse)
    try:
        for payload in payloads:
            head = bytes(byte % (size + 1) for byte, size in zip(payload, (9, 54, 126), strict=False))
            decoder.decode(head + payload[3:])
    except BitstreamError as error:
        assert "\n" not in str(error)


def test_a_file_can_claim_the_largest_coefficients():
    """Larger ones than any picture has: no table is left, and nothing overflows."""
    codec, rows, columns = ternary_models.codec(stages=2), 12, 12
    signs = np.sign(dc_stage.analysis(np.sign(np.random.RandomState(0).randn(rows, columns, 3))))
    encoder, decoder = (TernaryCoder(codec.context, rows, columns, 0, 0, 10, codec.coarse) for _ in range(2))
    sent = encoder.encode(np.zeros((rows, columns, 192), np.int8), coarse=16383.9 * signs)
    decoder.decode(sent.payload)
    assert np.abs(decoder.dc.context.levels).max() == 8191
    assert np.abs(decoder.dc.known()).max() > 16384 == np.abs(decoder.context.levels.astype(int)).max()
    refined = decoder.state(10).refined(codec.painter.refiner, Ternary(0, 0, 10))
    assert np.isfinite(refined).all()


def test_a_payload_that_is_refused_leaves_levels_as_they_were():
    codec = ternary_models.codec(stages=2)
    coarse, codes = 5000 * np.ones((2, 2, dc_stage.COARSE)), np.zeros((5, 8, 192), np.int8)
    encoder, decoder = (TernaryCoder(codec.context, 5, 8, 0, 0, 0, codec.coarse) for _ in range(2))
    decoder.decode(encoder.encode(codes, coarse=coarse).payload)
    before = decoder.context.levels.copy()
    with pytest.raises(BitstreamError):
        decoder.decode(encoder.encode(codes, coarse=coarse).payload + b"\x55" * 40)
    np.testing.assert_array_equal(decoder.context.levels, before)


def encoder_at(other: TernaryCoder) -> TernaryCoder:
    """Another coder that knows as much."""
    copy = TernaryCoder(CODEC.context, other.context.rows, other.context.columns, 1, 70, other.context.iteration)
    copy.context.levels = other.context.levels.copy()
    return copy


def test_bits_of_blocks_add_up_to_the_information():
    x = coefficients(6, 7)
    encoder, decoder, spent = coder(x), coder(x), np.zeros((6, 7))
    information = 0.0
    for codes in codes_of(x, 0, 8):
        information += encoder_at(encoder).information(codes).sum()
        decoder.decode(encoder.encode(codes).payload, spent=spent)
    assert spent.sum() == pytest.approx(information) and spent.min() > 0


def test_an_iteration_can_end_after_any_row_of_a_segment():
    x = coefficients(5, 6)
    *before, last = codes_of(x, 0, 9)
    known = coder(x)
    for codes in before:
        known.encode(codes)
    bits = encoder_at(known).information(last)
    assert bits.shape == (2 * (5 + 27 + 64), 5)
    reached, sizes = 0, []
    for count in range(1, bits.size + 1):
        encoder, decoder, end = encoder_at(known), encoder_at(known), End(*divmod(count, 5))
        assert End.from_bytes(end.to_bytes()) == end
        sent = encoder.encode(last, end)
        received = decoder.decode(sent.payload, end, spent := np.zeros((5, 6)))
        assert spent.sum() == pytest.approx(bits.ravel()[:count].sum())
        np.testing.assert_array_equal(received.sent, sent.sent)
        np.testing.assert_array_equal(received.codes, np.where(sent.sent, last, 0))
        np.testing.assert_array_equal(encoder.context.levels, decoder.context.levels)
        assert received.sent.sum() > reached
        reached = received.sent.sum()
        sizes.append(len(sent.payload))
    assert reached == last.size and sizes[-1] > 10 * sizes[0]
    whole = encoder_at(known).encode(last).payload
    assert len(whole) == sizes[-1]


def test_nothing_to_send_costs_no_network(monkeypatch):
    """A hostile file may claim a huge picture in sixty bytes."""
    monkeypatch.setattr("lit_rnncomp.models.context_network.Context._trunk", lambda self: pytest.fail("network"))
    decoder = TernaryCoder(CODEC.context, 40, 50, 0, 0)
    assert not decoder.decode(bytes(3)).codes.any()
    encoder = TernaryCoder(CODEC.context, 40, 50, 0, 0)
    assert encoder.encode(np.zeros((40, 50, 192), np.int8)).payload == bytes(3)


@pytest.mark.parametrize(
    ("payload", "end", "message"),
    [
        (b"", None, "shorter than its list"),
        (b"\x01\x02", None, "shorter than its list"),
        (b"\x0b\x00\x00", None, r"claims \(11, 0, 0\) active"),
        (b"\x0a\x37\x00", None, r"claims \(10, 55, 0\) active"),
        (b"\x0a\x36\x81", None, r"claims \(10, 54, 129\) active"),
        (b"\x00\x00\x00\x01", None, "goes on after its last code"),
        (b"\x0a\x00\x00" + b"\x55" * 400, None, "goes on after its last code|not a range coder's output"),
        (b"\x0a\x00\x00", End(11), "claims 11 segments and 0 rows, there are 10"),
        (b"\x0a\x00\x00", End(10, 2), "claims 10 segments and 2 rows, there are 10"),
        (b"\x00\x00\x00", End(1), "claims 1 segments and 0 rows, there are 0"),
        (b"\x0a\x00\x00", End(0), "claims to end after 0 segments and 0 rows"),
        (b"\x0a\x00\x00", End(1, 4), "claims to end after 1 segments and 4 rows"),
    ],
)
def test_payloads_that_no_encoder_writes_are_refused(payload, end, message):
    with pytest.raises(BitstreamError, match=message):
        TernaryCoder(CODEC.context, 4, 5, 0, 0).decode(payload, end)


def test_iterations_after_the_last_are_refused():
    decoder = TernaryCoder(CODEC.context, 1, 1, 0, 0, ternary.ITERATIONS - 1)
    decoder.decode(bytes(3))
    with pytest.raises(BitstreamError, match="goes on after iteration 11"):
        decoder.decode(bytes(3))


@settings(max_examples=60, deadline=2000)
@given(
    st.lists(st.binary(max_size=60), min_size=1, max_size=3),
    st.none() | st.builds(End, st.integers(0, 60), st.integers(0, 4)),
)
def test_any_payload_ends_in_codes_or_the_typed_error(payloads, end):
    decoder = TernaryCoder(CODEC.context, 3, 5, 1, 9)
    try:
        for payload in payloads:
            # A list of active coefficients that is possible is reached too seldom by chance.
            head = bytes(byte % (size + 1) for byte, size in zip(payload, (10, 54, 128), strict=False))
            codes = decoder.decode(head + payload[3:], end).codes
            assert set(np.unique(codes)) <= {-1, 0, 1}
    except BitstreamError as error:
        assert "\n" not in str(error)


SCRIPT = """
import hashlib, sys
from pathlib import Path
import numpy as np
from lit_rnncomp import load
from lit_rnncomp.codec import container
codec, data = load(sys.argv[1]), Path(sys.argv[2]).read_bytes()
*_, state = codec.states(container.parse(data), None, False)
print(hashlib.sha256(state.after.tobytes()).hexdigest())
print(hashlib.sha256(np.asarray(codec.decode(data, exact=True)).tobytes()).hexdigest())
assert "torch" not in sys.modules, "decoding needs no torch"
"""


@pytest.mark.parametrize("setting", processors.SETTINGS, ids=str)
def test_files_decode_to_the_same_codes_under_every_setting_of_the_processor(setting: dict[str, str], tmp_path: Path):
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if "SkylakeX" in setting.values() and not {"X86_V4", "AVX512_SKX"} & set(found):
        pytest.skip("this processor has no AVX-512")
    data = CODEC.encode(ternary_models.picture(75, 101), step=2200)
    ternary_weights.save(tmp_path / "small.safetensors", ternary_weights.TernaryWeights(CODEC.tensors, []))
    (tmp_path / "a.rnnc").write_bytes(data)
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **setting}
    if environment.get("NPY_DISABLE_CPU_FEATURES") == "ALL":
        environment["NPY_DISABLE_CPU_FEATURES"] = " ".join(found)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "small.safetensors"), str(tmp_path / "a.rnnc")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *_, state = CODEC.states(container.parse(data), None, False)
    here = (state.after.tobytes(), np.asarray(CODEC.decode(data, exact=True)).tobytes())
    assert done.stdout.split() == [hashlib.sha256(part).hexdigest() for part in here]


def golden_file() -> tuple[bytes, np.ndarray]:
    """Three iterations and a part of a fourth, of coefficients that are integers."""
    x = np.trunc(coefficients(9, 11) / 3)
    x[2:5] = 0
    coder = TernaryCoder(CODEC.context, 9, 11, 1, 70, 2)
    header = Header(container.TERNARY, 86, 70, CODEC.digest, Ternary(tune=1, scale=70, first=2))
    *whole, last = codes_of(x, 2, 5)
    chunks = [Chunk(coder.encode(codes).payload) for codes in whole]
    end = End(25, 4)
    chunks.append(Chunk(end.to_bytes() + coder.encode(last, end).payload, container.CUT))
    return assembled(header, chunks), coder.context.levels


def test_the_bytes_of_a_file_are_a_promise():
    """A change here makes files unreadable: it needs a new format version. No float decides any of these bytes."""
    data, known = golden_file()
    assert CODEC.digest.hex() == "eb5cb9a2b24a6009"
    assert len(data) == 560
    assert hashlib.sha256(data).hexdigest() == "f4154c09fe9e6dd98b2307234130b01175415be31aa5925081cccd7d210a5554"
    *_, state = CODEC.states(container.parse(data), None, False)
    np.testing.assert_array_equal(state.after, known)
