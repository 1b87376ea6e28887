"""`lit-rnncomp report`: one HTML page with curves, tables and a progressive viewer, and no outside address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from json import dumps
from typing import Any

from ..files import Output, write_bytes
from .baselines import named_baselines
from .colours import colours
from .metric_table import shown
from .pages import page_part
from .published import curves_over, shipped, warn_of_others
from .results import Results
from .summary import ABOVE, comparison
from .tables import (
    HELD,
    INTERVALS,
    Column,
    above_columns,
    above_rows,
    area_columns,
    common_columns,
    not_told_apart,
    over,
    rate_columns,
)
from .viewer import GAIN, viewer_pictures


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
    measured.require_common()
    baselines, missing = named_baselines(codecs)
    if missing:
        raise ValueError("; ".join(missing.values()))
    viewer = viewer_pictures(measured, baselines, pictures, quality)
    colour = colours([*measured.codecs, *(codec.name for codec in baselines)])
    content = {
        "metrics": [
            {
                "key": metric.name,
                "title": metric.title,
                "label": metric.title if metric.unit else f"{metric.title} in dB",
                "unit": metric.unit,
                "axis_unit": metric.axis_unit,
                "decimals": metric.decimals,
                "more_is_better": metric.more_is_better,
            }
            for metric in shown()
        ],
        "curves": _curves(measured, published),
        "models": [
            {"name": name, "setting": measured.common()[0].codecs[name].setting, "colour": colour[name]}
            for name in measured.models
        ],
        "codecs": [
            {"name": codec.name, "title": codec.title.split(",")[0], "colour": colour[codec.name]}
            for codec in baselines
        ],
        "pictures": viewer,
    }
    parts = {
        "__STYLE__": page_part("page.css"),
        "__STAGE__": page_part("stage.js"),
        "__TITLE__": escape(title),
        "__SUBTITLE__": escape(_subtitle(measured)),
        "__DISPLAY__": _display(quality),
        "__TABLES__": "".join(_our_tables(measured)) + _paper_table(),
        "__METHOD__": _method(measured, published),
        "__DATA__": dumps(content, separators=(",", ":")).replace("<", "\\u003c"),
    }
    # In one pass: a name or a heading may read like a mark.
    page = re.sub("|".join(parts), lambda mark: parts[mark.group()], page_part("report.html"))
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


def _display(quality: int) -> str:
    ours = "without loss" if quality == 100 else f"as WebP of quality {quality}, to keep the page small"
    return (
        f"The original is stored without loss, the model's pictures {ours}, the other codec's as the very files it "
        "made (as WebP where browsers cannot show them). Of all settings of the other codec the best is shown whose "
        f"file is no longer. Difference maps are {GAIN} times as bright as the differences; they and all numbers are "
        "of the true decoded pictures."
    )


def _subtitle(results: Results) -> str:
    run = results.run
    codecs = ", ".join(results.codecs)
    return f"{len(results.common())} pictures of {run['data']}, {codecs}; measured {run['finished'][:10]}"


def _our_tables(results: Results) -> Iterator[str]:
    """Areas by the paper's rule, the same without held values, and shares of rates above JPEG 4:2:0."""
    anchor = ABOVE if ABOVE in results.codecs else next(iter(results.codecs))
    rows = comparison(results, anchor)
    mean = over(results, results.run.get("pictures_found", len(results.pictures)))
    close = "".join(f"<br>{escape(line)}" for line in not_told_apart(rows))
    note = (
        f"From 1/8 to 2 bits per pixel of whole files, {mean}. BD-rate against {escape(anchor)}: less is better. "
        f"{INTERVALS}."
    )
    if any(row["held_pictures"] for row in rows):
        note += (
            f"<br>{HELD} The codec has no file of 1/8 bit per pixel of some pictures; its first value is held below "
            "them, which favours it. The next table holds nothing."
        )
    if close:
        note += f"<br>Not told apart, paired over pictures:{close}"
    yield _measured(results, rows, "measured here", [*area_columns(), rate_columns()[0]], note)
    if len(rows) > 1:
        note = (
            "From 1/8 to 2 bits per pixel, of each picture only the rates at which every codec has files; same scale."
        )
        yield _measured(results, rows, "over common rates", common_columns(), note)
    if ABOVE in results.codecs and (others := above_rows(rows)):
        note = (
            "Share of the rates from 1/8 to 2 bits per pixel at which the mean over pictures is above JPEG 4:2:0's, of "
            "the rates that both have."
        )
        if results.nominal:
            note += " Nominal: bits before entropy coding, without headers."
        yield _measured(results, others, "above JPEG 4:2:0", above_columns(), note)


def _measured(results: Results, rows: list[dict[str, Any]], head: str, columns: list[Column], note: str) -> str:
    """A table of measured numbers with their intervals."""
    body = []
    for row in rows:
        texts = [escape(row["title"])]
        for column in columns:
            cell, interval = column.cell(results, row), column.interval(row)
            spread = f"<small>{interval}</small>" if interval and cell != "-" else ""
            texts.append(("&ndash;" if cell == "-" else escape(cell)) + spread)
        body.append((' class="ours"' if row["codec"] in results.models else "", tuple(texts)))
    heads = (head, *(column.head.replace("\n", "<br>") for column in columns))
    return _table(heads, body, note)


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
