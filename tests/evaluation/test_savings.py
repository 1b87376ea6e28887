"""What the entropy coder leaves, from measured points."""

import dataclasses

import pytest
from rich.console import Console

from lit_rnncomp.evaluation import savings
from lit_rnncomp.evaluation.results import Results


@pytest.fixture
def coded(results):
    """The tiny model's results, as if an entropy coder had left half of iteration 1, a quarter of 2 and all of 3."""
    read = Results.read(results)
    pictures = []
    for picture in read.pictures:
        tiny = picture.codecs["tiny"]
        plain = [point.bytes - point.header_bytes for point in tiny.points]
        saved = [0, 0.5 * plain[0], 0.5 * plain[0] + 0.75 * (plain[1] - plain[0])]
        points = []
        for point, less in zip(tiny.points, [saved[1], saved[2], saved[2]], strict=True):
            pixels = point.bytes * 8 / point.bpp
            points.append(
                dataclasses.replace(point, bytes=int(point.bytes - less), bpp=8 * int(point.bytes - less) / pixels)
            )
        pictures.append(
            dataclasses.replace(
                picture, codecs={**picture.codecs, "tiny": dataclasses.replace(tiny, points=tuple(points))}
            )
        )
    return dataclasses.replace(read, pictures=tuple(pictures))


def test_plain_bits_save_nothing_and_are_left_out(results):
    assert savings.bits_left(Results.read(results)) == {}


def test_shares_are_of_each_iterations_own_bits(coded):
    shares = savings.bits_left(coded)["tiny"]
    # One picture is padded from 201x177 to 208x192: its plain payload is larger than its pixels' share of bits.
    padded = (192 * 176 + 208 * 192) / (192 * 176 + 201 * 177)
    assert shares == pytest.approx([0.5 * padded, 0.25 * padded, padded], rel=0.02)


def test_the_table_sets_the_paper_beside(coded, capsys):
    Console(width=80).print(savings.table({"tiny": [0.5, 0.25, 1.0]}))
    shown = capsys.readouterr().out
    assert "50.0%" in shown and "75.0%" in shown and "41%" in shown
