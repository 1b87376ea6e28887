"""Files whose every part is well formed and whose whole makes no sense: right checksums and digests, any layout, any
order of chunks, payloads that were those of other chunks."""

from __future__ import annotations

import zlib

import pytest
from helpers.files import assembled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lit_rnncomp.codec import container
from lit_rnncomp.codec.container import Chunk, Header, Ternary

from .check import Check
from .mutants import Mutant

SIDE = st.integers(1, 90) | st.sampled_from([1, 8, 2**15, 2**34])
BYTE = st.integers(0, 3) | st.integers(0, 255)


@pytest.fixture(scope="module")
def check() -> Check:
    return Check()


@st.composite
def structures(draw: st.DrawFn, check: Check) -> bytes:
    """A header of one of the models, the beginning of a file and up to four other chunks."""
    known = [container.parse(file) for file in check.files]
    own = draw(st.sampled_from(known))
    header, begun = own.header, own.chunks[: draw(st.integers(0, len(own.chunks)))]
    if isinstance(header.layout, Ternary):
        layout = Ternary(draw(BYTE), draw(BYTE), draw(st.integers(0, 12)))
    else:
        layout = header.layout._replace(window=draw(BYTE), overlap=draw(BYTE))
    if draw(st.booleans()):
        width, height = (header.width, header.height) if draw(st.booleans()) else (draw(SIDE), draw(SIDE))
        header = Header(header.coder, width, height, header.model_digest, layout)
    payloads = [chunk.payload for file in known for chunk in file.chunks]
    payload = st.one_of(
        st.sampled_from(payloads),
        st.binary(max_size=60),
        st.builds(lambda side, cells: bytes([side]) + zlib.compress(cells), BYTE, st.binary(max_size=60)),
        st.builds(
            lambda active, rest: bytes(active) + rest, st.tuples(*[st.integers(0, 64)] * 3), st.binary(max_size=40)
        ),
    )
    chunks = st.builds(Chunk, payload, st.integers(0, 6) | st.just(container.ITERATION))
    return assembled(header, [*begun, *draw(st.lists(chunks, min_size=0 if begun else 1, max_size=4))])


def test_structures(check: Check) -> None:
    check.counts.clear()

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(structures(check))
    def run(data: bytes) -> None:
        check(Mutant(data, repaired=True))

    run()
    assert check.counts["repaired, decoded"] > 3 and check.counts["repaired, refused"] > 20
