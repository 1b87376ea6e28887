"""`lit-rnncomp report`: one HTML page with curves, tables and a progressive viewer, and no outside address."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from html import escape
from importlib import resources
from json import dumps
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import Output, write_bytes
from .baselines import Baseline, Coded, named_baselines
from .colours import colours
from .frames import LONGEST_WEBP, frame_file, frames_folder, open_frame
from .measure import distortion, to_tensor
from .metric_table import shown
from .published import curves_over, shipped, warn_of_others
from .results import PictureResult, Results
from .summary import comparison
from .tables import area_columns, rate_columns

BROWSER_FORMATS = {"JPEG": "jpeg", "WEBP": "webp", "AVIF": "avif"}


def report(
    results: str,
    out: str = "report.html",
    codecs: str = "jpeg420",
    pictures: int = 4,
    quality: int = 90,
    published: str | None = None,
    title: str = "Rate, distortion, and what it looks like",
) -> None:
    """Write one self-contained page: rate-distortion curves, areas beside the paper's Table 1, and a progressive
    viewer.

    Args:
        results: the --out of `lit-rnncomp evaluate`.
        out: the page to write, or - for standard output. It replaces only a page that this verb wrote.
        codecs: classical codecs that the viewer shows at the models' bytes, separated by commas; or none.
        pictures: how many of the pictures with kept frames (`evaluate --frames`) the viewer gets; several MB of page
            for each.
        quality: quality of the WebP in which the page shows the models' pictures, or 100 for lossless. Numbers are
            always those of the true pictures.
        published: add published curves over the same pictures: kodak for the shipped ones, or a folder of curves as
            tensorflow/compression keeps them.
        title: the heading.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"--quality is {quality}; it must be in 1..100")
    output = Output(out, own=True)
    measured = Results.read(results)
    baselines, missing = named_baselines(codecs)
    if missing:
        raise ValueError("; ".join(missing.values()))
    viewer = _pictures(measured, baselines, pictures, quality)
    content = {
        "metrics": [
            {
                "key": metric.name,
                "title": metric.title,
                "label": metric.title if metric.unit else f"{metric.title} in dB",
                "unit": metric.unit,
                "axis_unit": metric.axis_unit,
                "decimals": metric.decimals,
            }
            for metric in shown()
        ],
        "curves": _curves(measured, published),
        "models": list(measured.models),
        "codecs": [{"name": codec.name, "title": codec.title.split(",")[0]} for codec in baselines],
        "pictures": viewer,
    }
    page = (resources.files(__package__) / "report.html").read_text(encoding="utf-8")
    parts = {
        "__TITLE__": escape(title),
        "__SUBTITLE__": escape(_subtitle(measured)),
        "__DISPLAY__": _display(quality),
        "__TABLES__": _our_table(measured) + _paper_table(),
        "__METHOD__": _method(measured, published),
        "__DATA__": dumps(content, separators=(",", ":")).replace("</", "<\\/"),
    }
    for mark, text in parts.items():
        page = page.replace(mark, text)
    write_bytes(output, page.encode())
    print(f"report in {out}: {len(page) / 1e6:.1f} MB, {len(viewer)} pictures in the viewer", file=output.messages)


def _curves(results: Results, published: str | None) -> list[dict[str, Any]]:
    colour = colours(results.codecs)
    drawn: list[dict[str, Any]] = []
    for name, title in results.codecs.items():
        example = results.common()[0].codecs[name]
        points = {}
        for metric in shown():
            curve = results.mean_curve(name, metric.name)
            if curve is not None:
                settings = [f"{example.setting} {point.setting:g}" for point in example.points]
                rows = zip(curve.bpp, metric.on_axis(curve.quality), settings, strict=False)
                points[metric.name] = [
                    [round(float(bpp), 4), round(float(value), 3), setting] for bpp, value, setting in rows
                ]
        kind = "model" if name in results.models else "codec"
        drawn.append({"name": name, "title": title, "kind": kind, "colour": colour[name], "points": points})
    data, pictures = results.run["data"], [picture.name for picture in results.common()]
    warn_of_others(published, data, pictures)
    others: dict[str, dict[str, Any]] = {}
    for metric in shown():
        for entry in curves_over(published, metric.name, data, pictures)[0]:
            new = {
                "name": f"published {entry.title}",
                "title": f"{entry.title}, published",
                "kind": "published",
                "colour": colours([entry.title])[entry.title],
            }
            values = zip(entry.curve.bpp, metric.on_axis(entry.curve.quality), strict=True)
            others.setdefault(entry.title, {**new, "points": {}})["points"][metric.name] = [
                [round(float(b), 4), round(float(v), 3), ""] for b, v in values
            ]
    return drawn + list(others.values())


def _pictures(results: Results, baselines: list[Baseline], count: int, quality: int) -> list[dict[str, Any]]:
    """The viewer's pictures with a progress bar: fitting the other codecs to every iteration's bytes takes seconds."""
    from rich.console import Console
    from rich.progress import track

    kept = [picture for picture in results.common() if frames_folder(results, picture.name) is not None]
    chosen = [kept[k * len(kept) // count] for k in range(count)] if len(kept) > count else kept
    return [
        _picture(results, picture, baselines, quality)
        for picture in track(chosen, "pictures", console=Console(stderr=True), transient=True)
    ]


def _picture(results: Results, picture: PictureResult, baselines: list[Baseline], quality: int) -> dict[str, Any]:
    folder = frames_folder(results, picture.name)
    assert folder is not None
    original = open_frame(folder / "original")
    thumb = original.copy()
    thumb.thumbnail((168, 112))
    models: dict[str, list[dict[str, Any]]] = {}
    for model in results.models:
        models[model] = [
            {
                "bytes": point.bytes,
                "bpp": round(point.bpp, 4),
                **{metric.name: point.metrics[metric.name] for metric in shown()},
                "src": _shown(open_frame(folder / model / f"{int(point.setting):03d}"), quality),
            }
            for point in picture.codecs[model].points
        ]
    return {
        "name": picture.name,
        "width": picture.width,
        "height": picture.height,
        "original": _kept(folder / "original"),
        "thumb": _shown(thumb, 80),
        "models": models,
        "codecs": {codec.name: files for codec in baselines if (files := _matched(original, codec, models, quality))},
    }


def _matched(
    original: Image.Image, baseline: Baseline, models: dict[str, list[dict[str, Any]]], quality: int
) -> dict[str, Any] | None:
    """`files` by setting, and for each model `match`: the setting whose file is the best that each iteration's bytes
    allow. None where the codec cannot code the picture."""
    files: dict[str, dict[str, Any]] = {}
    match: dict[str, list[str]] = {}
    truth = to_tensor(original)
    for model, points in models.items():
        match[model] = []
        for point in points:
            try:
                coded = baseline.fit(original, point["bytes"])
            except ValueError as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
                return None
            key = f"{coded.setting:g}"
            match[model].append(key)
            if key not in files:
                files[key] = _file(original, baseline, coded, distortion(truth, to_tensor(coded.picture)), quality)
    return {"files": files, "match": match}


def _file(
    original: Image.Image, baseline: Baseline, coded: Coded, values: dict[str, float | None], quality: int
) -> dict[str, Any]:
    """A classical codec's file as the viewer knows it; the very bytes where browsers show them."""
    native = BROWSER_FORMATS.get(baseline.format)
    src = _address(native, baseline.encode(original, coded.setting)) if native else _shown(coded.picture, quality)
    bpp = round(8 * coded.size / (original.width * original.height), 4)
    return {"bytes": coded.size, "bpp": bpp, **{metric.name: values[metric.name] for metric in shown()}, "src": src}


def _shown(picture: Image.Image, quality: int) -> str:
    """As WebP; as PNG what is larger than WebP can be."""
    file = io.BytesIO()
    if max(picture.size) > LONGEST_WEBP:
        picture.save(file, "PNG")
        return _address("png", file.getvalue())
    picture.save(file, "WEBP", lossless=quality == 100, quality=quality, method=4)
    return _address("webp", file.getvalue())


def _kept(path: Path) -> str:
    """A kept frame, as it is."""
    file = frame_file(path)
    return _address(file.suffix.removeprefix("."), file.read_bytes())


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _display(quality: int) -> str:
    ours = "without loss" if quality == 100 else f"as WebP of quality {quality}, to keep the page small"
    return (
        f"The original is stored without loss, the model's pictures {ours}, the other codec's as the very files "
        "it made "
        "(as WebP where browsers cannot show them). All numbers are of the true decoded pictures."
    )


def _subtitle(results: Results) -> str:
    run = results.run
    codecs = ", ".join(results.codecs)
    return f"{len(results.common())} pictures of {run['data']}, {codecs}; measured {run['finished'][:10]}"


def _our_table(results: Results) -> str:
    columns = [*area_columns(), rate_columns()[0]]
    head = ("measured here", *(column.head.replace("\n", "<br>") for column in columns))
    anchor = "jpeg420" if "jpeg420" in results.codecs else next(iter(results.codecs))
    rows = []
    for row in comparison(results, anchor):
        cells = (column.cell(results, row) for column in columns)
        texts = (escape(row["title"]), *("&ndash;" if cell == "-" else cell for cell in cells))
        rows.append((' class="ours"' if row["codec"] in results.models else "", texts))
    note = f"From 1/8 to 2 bits per pixel of whole files, mean over pictures. BD-rate against {anchor}: less is better."
    return _table(head, rows, note)


def _paper_table() -> str:
    head = ("the paper's Table 1 (Kodak)", "MS-SSIM<br>32&times;32", "MS-SSIM<br>high entropy")
    rows = [
        ("", (escape(row["model"]), *(_cell(row[f"ms_ssim_{training}"]) for training in ("32x32", "high_entropy"))))
        for row in shipped()["table1"]
    ]
    note = "Nominal bits, without entropy coding. Its JPEG uses the standard's Huffman tables, without headers."
    return _table(head, rows, note)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, tuple[str, ...]]], caption: str) -> str:
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr{kind}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for kind, cells in rows)
    table = f"<table><caption>{caption}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def _cell(value: float | None) -> str:
    return "&ndash;" if value is None else f"{value:.4f}"


def _method(results: Results, published: str | None) -> str:
    machine = results.run["machine"]
    source = ""
    if published == "kodak":
        source = f" The published curves are from {escape(shipped()['curves_source'])} ({shipped()['curves_licence']})."
    return (
        "<p>Every rate is the size of a whole file, headers included; every distortion is of the decoded 8-bit "
        "picture; a data set's value "
        "is the mean of its pictures' values. MS-SSIM follows the script that the paper's authors published "
        "(RGB, five scales); PSNR is "
        "over RGB; PSNR-HVS is the DCT metric of Egiazarian et al. on luma, which is not the metric of that "
        "name in the paper. "
        "The area under a curve is taken by the trapezoid rule over the 16 rates 1/8, 2/8, ..., 2 bits per "
        "pixel, where 1.875 is perfect; "
        f"&ldquo;nominal&rdquo; counts a model's bits before entropy coding and without headers.{source}</p>"
        f'<p class="soft">{escape(machine["processor"])}, {machine["cores"]} cores, Python {machine["python"]}; '
        f"{escape(_versions(results))}</p>"
    )


def _versions(results: Results) -> str:
    versions: dict[str, str] = {}
    for measurement in results.common()[0].codecs.values():
        versions.update(measurement.versions)
    return ", ".join(f"{name} {version}" for name, version in versions.items())
