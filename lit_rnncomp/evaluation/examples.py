"""Pictures to look at that `evaluate` leaves beside its numbers: one that was chosen blindly, and one where the first
model loses."""

from __future__ import annotations

from pathlib import Path

from ..data import read_image
from .baselines import BASELINES
from .frames import frames_folder, frames_name
from .measure import AnyCodec
from .per_picture import lead
from .results import Results
from .strip import draw_at_equal_bytes
from .tasks import Task, perform

BLIND, BEHIND = "strip.png", "strip-behind.png"
OTHER = "jpeg420"


def draw_examples(
    results: Results, codecs: list[AnyCodec], paths: dict[str, Path], cache: Path, device: str, frames: int
) -> None:
    """Writes strips at equal bytes, and keeps the frames of the picture where the first model loses most.

    `strip.png` has the models beside JPEG 4:2:0 on the first picture with kept frames; `strip-behind.png` beside the
    codec that is ahead of the first model on the picture where it is furthest behind. Without models, or with
    `frames` 0, there are none, and older ones are removed.
    """
    for name in (BLIND, BEHIND):
        (results.folder / name).unlink(missing_ok=True)
    kept = [picture for picture in results.common() if frames_folder(results, picture.name) is not None]
    if not (frames and kept):
        return
    models: list[AnyCodec] = [codec for codec in codecs if codec.name in results.models]
    others: list[AnyCodec] = [BASELINES[OTHER]] if BASELINES[OTHER].missing() is None else []
    draw_at_equal_bytes(read_image(paths[kept[0].name]), [*models, *others], results.folder / BLIND)
    worst = min(results.common(), key=lambda picture: lead(results, picture).by)
    behind = lead(results, worst)
    if behind.over is None or behind.by >= 0:
        return
    for model in models:
        folder = results.folder / frames_name(worst.name) / model.name
        if not (folder / "complete").exists():
            perform(Task(worst.name, paths[worst.name], model, cache, device, folder))
    ahead = next(codec for codec in codecs if codec.name == behind.over)
    draw_at_equal_bytes(read_image(paths[worst.name]), [*models, ahead], results.folder / BEHIND)
