"""Finding weights: by file, or among those that ship with the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from safetensors import safe_open

from .digest import DIGEST_KEY

FOLDER = Path(__file__).parent.parent / "zoo"
DEFAULT = "ternary64_16h"


def find(model: str | Path | None) -> Path:
    """The weights file of `model`: a path, or the name of a shipped model; None is the default one.

    Raises `FileNotFoundError` naming the shipped models.
    """
    if model is not None and (Path(model).suffix in (".ckpt", ".safetensors") or Path(model).is_file()):
        return Path(model)
    known = shipped()
    if model is None and known:
        return known.get(DEFAULT) or next(iter(known.values()))
    if model is not None and str(model) in known:
        return known[str(model)]
    names = (
        f"the shipped models are {', '.join(known)}"
        if known
        else "no model ships with this version: give a file, model=FILE"
    )
    raise FileNotFoundError(f"no model {model!r}; {names}" if model is not None else names)


def find_digest(digest: bytes) -> Path | None:
    """The shipped weights with this digest, if any."""
    for path in shipped().values():
        with safe_open(path, "np") as file:
            if (file.metadata() or {}).get(DIGEST_KEY) == digest.hex():
                return path
    return None


@cache
def shipped() -> dict[str, Path]:
    """Name to weights file."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"))}
