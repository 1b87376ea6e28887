"""The colour photographs that come with scikit-image, so that everything runs before anything is downloaded."""

from importlib.util import find_spec
from pathlib import Path

_NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def sample_photographs() -> list[Path]:
    """Returns the paths of the photographs astronaut, chelsea, coffee and rocket in the installed scikit-image.

    The package is only looked up, never imported.

    Raises:
        FileNotFoundError: scikit-image is not installed, or ships none of them.
    """
    package = find_spec("skimage")
    folders = [Path(folder) / "data" for folder in (package.submodule_search_locations or [])] if package else []
    found = [folder / name for name in _NAMES for folder in folders if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(
            "no sample photographs: scikit-image "
            f"{'ships none of ' + ', '.join(_NAMES) if package else 'is not installed'}; "
            "name a folder of your own photographs instead (data.train)"
        )
    return found
