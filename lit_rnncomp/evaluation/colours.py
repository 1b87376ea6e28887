"""One colour for each codec, in plots, strips and the report alike, whatever is measured beside it.

All have a contrast of 3:1 and more with white, which is what graphics need (WCAG 2, 1.4.11); a dark page draws them
brighter.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from ..codec.zoo import DEFAULT

OF_CODEC = {
    "jpeg420": "#1f5fa8",
    "jpeg444": "#4389cf",
    "jpeg420-progressive": "#16406f",
    "jpeg444-progressive": "#5b7083",
    "jpeg420-default": "#2f6f8f",
    "jpeg444-default": "#7486b8",
    "webp": "#3c8a1e",
    "jpeg2000": "#6b6b6b",
    "avif": "#a8467f",
    "jpegxl": "#857200",
}
OF_PUBLISHED = {
    "JPEG (4:2:0)": OF_CODEC["jpeg420"],
    "WebP": OF_CODEC["webp"],
    "JPEG 2000 (OpenJPEG)": OF_CODEC["jpeg2000"],
    "Toderici 2017 (CVPR)": "#e8601c",
    "Johnston 2018 (CVPR)": "#168a9a",
    "BPG (4:2:0)": "#8c564b",
    "Ballé 2018 (ICLR, opt. MS-SSIM)": "#c2479d",
    "Minnen 2018 (NeurIPS)": "#7d63c4",
}
OF_TUNE = {"psnr": "#7a3db8", "visual": "#d6452b"}
OF_MODEL = {
    **{f"{DEFAULT}-{tune}": colour for tune, colour in OF_TUNE.items()},
    DEFAULT: OF_TUNE["visual"],
    "residual_gru_dct64": "#0b7a75",
}
"""What ships; other models take a colour of `FREE` by their name."""
FREE = ("#b3124a", "#a86a00", "#5a3e2b", "#3b3fbf", "#00795a", "#8f2fa8", "#c2410c", "#4d6b00")


def colours(names: Iterable[str]) -> dict[str, str]:
    """The colour of each codec, model, tune or published curve. Two unknown names get the same one only where
    there are more of them than `FREE`."""
    found: dict[str, str] = {}
    for name in names:
        known = OF_CODEC.get(name) or OF_MODEL.get(name) or OF_TUNE.get(name) or OF_PUBLISHED.get(name)
        first = zlib.crc32(name.encode()) % len(FREE)
        free = [FREE[(first + k) % len(FREE)] for k in range(len(FREE))]
        found[name] = known or next((colour for colour in free if colour not in found.values()), free[0])
    return found
