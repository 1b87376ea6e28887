"""Chunks of the learned coder: they come back, cost what the model says, end in a typed error when hostile, and never
change."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.entropy_models import sample, tensors_and_config
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_rnncomp.codec import entropy_weights
from lit_rnncomp.codec.coders import RawCoder
from lit_rnncomp.codec.container import ITERATION, PLAIN, BitstreamError, Chunk
from lit_rnncomp.codec.entropy import EntropyCoder
from lit_rnncomp.codec.entropy_network import EntropyModelError

ITERATIONS = 16
CODER = EntropyCoder(*tensors_and_config(iterations=ITERATIONS))
BITS = CODER.bits


def pattern(kind: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    if kind == "random":
        return (np.random.default_rng(seed).integers(0, 2, shape) * 2 - 1).astype(np.int8)
    if kind == "checkerboard":
        return (np.indices(shape)[-2:].sum(0) % 2 * 2 - 1).astype(np.int8)
    if kind == "sampled":
        return sample(CODER.network, shape[0], *shape[2:], seed)
    return np.full(shape, 1 if kind == "plus" else -1, np.int8)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["random", "checkerboard", "plus", "minus", "sampled"]),
    st.integers(1, ITERATIONS),
    st.integers(1, 32),
    st.integers(1, 48),
    st.integers(0, 2**31),
)
def test_codes_come_back(kind, iterations, rows, columns, seed):
    codes = pattern(kind, (iterations, BITS, rows, columns), seed)
    chunks = CODER.encode(codes)
    np.testing.assert_array_equal(CODER.decode(chunks, rows, columns), codes)
    # Never larger than plain bits, and within half a percent and 16 bytes of the model's own information.
    plain = RawCoder(BITS, rows, columns).payload_bytes
    for chunk, information in zip(chunks, CODER.information(codes), strict=True):
        assert len(chunk.payload) == plain if chunk.kind == PLAIN else len(chunk.payload) < plain
        if chunk.kind == ITERATION:
            assert len(chunk.payload) * 8 <= information * 1.005 + 128


def test_the_payload_holds_the_information_and_no_more():
    codes = sample(CODER.network, 4, 64, 96)
    chunks, information = CODER.encode(codes), CODER.information(codes)
    spent = np.array([8 * len(chunk.payload) for chunk in chunks])
    assert all(chunk.kind == ITERATION for chunk in chunks)
    assert (spent >= information).all()
    assert (spent <= information * 1.005 + 128).all()
    assert spent.sum() < 0.9 * codes.size


def test_any_prefix_decodes():
    codes = sample(CODER.network, 5, 12, 9)
    chunks = CODER.encode(codes)
    for count in range(6):
        np.testing.assert_array_equal(CODER.decode(chunks[:count], 12, 9), codes[:count])


def test_plain_chunks_are_context_for_coded_ones():
    codes = sample(CODER.network, 4, 20, 20, random_iteration=1)
    chunks = CODER.encode(codes)
    assert [chunk.kind for chunk in chunks] == [ITERATION, PLAIN, ITERATION, ITERATION]
    np.testing.assert_array_equal(CODER.decode(chunks, 20, 20), codes)


def test_iterations_beyond_the_model_are_plain():
    coder = EntropyCoder(*tensors_and_config(iterations=2))
    codes = np.concatenate((sample(coder.network, 2, 16, 16), pattern("plus", (2, BITS, 16, 16), 0)))
    chunks = coder.encode(codes)
    assert [chunk.kind for chunk in chunks] == [ITERATION, ITERATION, PLAIN, PLAIN]
    np.testing.assert_array_equal(coder.decode(chunks, 16, 16), codes)
    with pytest.raises(BitstreamError, match="chunk 3, but the entropy model has 2 iterations"):
        coder.decode([*chunks[:2], chunks[0]], 16, 16)


def test_codes_of_another_shape_are_named():
    coder = CODER.picture(4, 5)
    with pytest.raises(ValueError, match=r"\(3, 5, 4\), not \(3, 4, 5\)"):
        coder.encode(np.ones((3, 5, 4), np.int8))


@settings(max_examples=60, deadline=2000)
@given(st.lists(st.tuples(st.binary(max_size=40), st.sampled_from([ITERATION, PLAIN])), min_size=1, max_size=4))
def test_any_payload_ends_in_codes_or_the_typed_error(payloads):
    chunks = [Chunk(payload, kind) for payload, kind in payloads]
    try:
        codes = CODER.decode(chunks, 9, 11)
    except BitstreamError as error:
        assert "\n" not in str(error)
    else:
        assert codes.shape == (len(chunks), BITS, 9, 11)
        assert set(np.unique(codes)) <= {-1, 1}


def test_swapped_chunks_and_flipped_bits_give_codes_or_the_typed_error():
    codes = sample(CODER.network, 3, 24, 16)
    chunks = CODER.encode(codes)
    outcomes = set()
    flips = [bytearray(chunks[0].payload) for _ in range(20)]
    for place, payload in enumerate(flips):
        payload[place % len(payload)] ^= 1 << place % 8
    for hostile in ([chunks[2], chunks[0]], *([Chunk(bytes(payload))] for payload in flips)):
        try:
            outcomes.add((CODER.decode(hostile, 24, 16) == codes[: len(hostile)]).all())
        except BitstreamError:
            outcomes.add(None)
    assert True not in outcomes, "no damage goes unnoticed here"


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (Chunk(b"\x01" * 38), "coded chunk of 38 bytes where plain bits need 38"),
        (Chunk(b"\x01" * 10**8), "coded chunk of 100000000 bytes"),
        (Chunk(b"", PLAIN), "0 bytes where 38 bytes"),
    ],
)
def test_payloads_of_impossible_length_are_refused_at_once(chunk, message):
    before = time.perf_counter()
    with pytest.raises(BitstreamError, match=message):
        CODER.decode([chunk], 10, 10)
    assert time.perf_counter() - before < 0.5


def test_a_payload_with_bytes_after_its_end_is_refused():
    codes = sample(CODER.network, 1, 24, 16)
    (chunk,) = CODER.encode(codes)
    with pytest.raises(BitstreamError, match="goes on after its last bit"):
        CODER.decode([Chunk(chunk.payload + b"\x55" * 12)], 24, 16)


def test_a_saved_model_is_the_same_model(tmp_path):
    path = tmp_path / "entropy.safetensors"
    entropy_weights.save(path, CODER, note="for a test")
    loaded = entropy_weights.load(path)
    assert loaded.digest == CODER.digest
    assert len(loaded.digest) == 8
    codes = sample(CODER.network, 2, 8, 8)
    assert loaded.encode(codes) == CODER.encode(codes)


def test_the_digest_covers_weights_tables_and_configuration_but_not_storage():
    tensors, config = tensors_and_config()
    original = EntropyCoder(tensors, config).digest
    assert (
        EntropyCoder({name: value.astype(np.int32) for name, value in reversed(tensors.items())}, config).digest
        == original
    )
    for name in tensors:
        other = tensors[name].copy()
        other.reshape(-1)[0] += 1 if other.reshape(-1)[0] <= 1 else -1
        assert EntropyCoder({**tensors, name: other}, config).digest != original, name
    assert EntropyCoder(tensors, {**config, "note": 1}).digest != original


def test_files_that_hold_no_entropy_model_are_named(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(FileNotFoundError, match=r"no such entropy model: .*absent"):
        entropy_weights.load(tmp_path / "absent.safetensors")
    (tmp_path / "noise").write_bytes(bytes(range(200)))
    with pytest.raises(EntropyModelError, match="noise: not a readable safetensors file"):
        entropy_weights.load(tmp_path / "noise")
    save_file({"x": np.zeros(3, np.int8)}, tmp_path / "other")
    with pytest.raises(EntropyModelError, match="other: no 'entropy_config' in its metadata"):
        entropy_weights.load(tmp_path / "other")
    tensors, config = tensors_and_config()
    broken = EntropyCoder(tensors, config)
    del broken.tensors["line.bias"]
    entropy_weights.save(tmp_path / "broken", broken)
    with pytest.raises(EntropyModelError, match=r"broken: .*line"):
        entropy_weights.load(tmp_path / "broken")


GOLDEN = json.loads((Path(__file__).parent / "golden_entropy.json").read_text())


@pytest.mark.parametrize("golden", GOLDEN, ids=[str(golden["options"]) for golden in GOLDEN])
def test_the_bits_of_a_chunk_are_a_promise(golden):
    """A change here makes files unreadable: it needs a new format version."""
    coder = EntropyCoder(*tensors_and_config(seed=7, **golden["options"]))
    rows, columns = golden["rows"], golden["columns"]
    plain = RawCoder(coder.bits, rows, columns)
    codes = np.stack([plain.decode(Chunk(bytes.fromhex(payload))) for payload in golden["codes"]])
    chunks = [Chunk(bytes.fromhex(payload), PLAIN if raw else ITERATION) for payload, raw in golden["chunks"]]
    assert coder.digest.hex() == golden["digest"]
    assert coder.encode(codes) == chunks
    np.testing.assert_array_equal(coder.decode(chunks, rows, columns), codes)
