import sys

import pytest

from lit_rnncomp.data import read_image, sample_photographs, samples


def test_the_four_colour_photographs_are_found():
    paths = sample_photographs()
    assert [path.stem for path in paths] == ["astronaut", "chelsea", "coffee", "rocket"]
    assert all(min(read_image(path).size) >= 300 for path in paths)


def test_scikit_image_is_not_imported():
    loaded = {name for name in sys.modules if name.split(".")[0] == "skimage"}
    sample_photographs()
    assert {name for name in sys.modules if name.split(".")[0] == "skimage"} == loaded


def test_absence_is_explained(monkeypatch):
    monkeypatch.setattr(samples, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"scikit-image is not installed.*data\.train"):
        sample_photographs()
    monkeypatch.undo()
    monkeypatch.setattr(samples, "_NAMES", ("none.png",))
    with pytest.raises(FileNotFoundError, match=r"ships none of none\.png"):
        sample_photographs()
