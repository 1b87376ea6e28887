"""A codec has one colour, wherever it is drawn, and graphics can be told from paper."""

import re
from itertools import combinations

from lit_rnncomp.codec.zoo import DEFAULT
from lit_rnncomp.evaluation import colours
from lit_rnncomp.evaluation.baselines import BASELINES
from lit_rnncomp.evaluation.plot import plot
from lit_rnncomp.evaluation.published import shipped


def luminance(colour):
    """WCAG 2's relative luminance."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_known_name_has_a_colour_that_can_be_seen():
    assert set(colours.OF_CODEC) == set(BASELINES)
    assert {entry["title"] for entry in shipped()["curves"]} == set(colours.OF_PUBLISHED)
    every = [*colours.OF_CODEC.values(), *colours.OF_PUBLISHED.values(), *colours.OF_MODEL.values(), *colours.FREE]
    for colour in every:
        assert 1.05 / (luminance(colour) + 0.05) >= 3, colour
    models = dict(colours.OF_MODEL)
    assert models.pop(DEFAULT) == models[f"{DEFAULT}-visual"], "the tune that is meant where none is said"
    ours = [*colours.OF_CODEC.values(), *models.values(), *colours.FREE]
    assert all(a != b for a, b in combinations(ours, 2))


def test_a_colour_does_not_depend_on_what_is_beside():
    alone = colours.colours(["webp"])["webp"]
    beside = colours.colours(["mine", "avif", "webp", "yours"])
    assert beside["webp"] == alone and len(set(beside.values())) == 4
    many = colours.colours(f"model{k}" for k in range(20))
    assert len(many) == 20 and len(set(list(many.values())[:8])) == 8


def test_plots_use_it(results, tmp_path):
    plot([str(results)], out=str(tmp_path / "rd.svg"))
    drawn = (tmp_path / "rd.svg").read_text()
    assert {colours.OF_CODEC["webp"], colours.OF_CODEC["jpeg420"]} <= set(re.findall("#[0-9a-f]{6}", drawn))


def test_a_published_curve_shares_its_codecs_colour():
    assert colours.colours(["WebP"]) == {"WebP": colours.OF_CODEC["webp"]}
