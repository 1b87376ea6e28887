"""The list of shipped models, from a folder made for the test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lit_rnncomp.codec import weights, zoo
from lit_rnncomp.evaluation import catalog


@pytest.fixture
def folder(tmp_path: Path, tiny_codec, monkeypatch: pytest.MonkeyPatch) -> Path:
    weights.save(tmp_path / "small.safetensors", tiny_codec(unit="gru"))
    weights.save(tmp_path / f"{zoo.DEFAULT}.safetensors", tiny_codec(unit="lstm"))
    results = {"areas": {"small": {"ms_ssim": {"auc": 1.5, "auc_file": 1.6}}}}
    (tmp_path / "results").mkdir()
    (tmp_path / "results/small.json").write_text(json.dumps(results))
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    zoo.shipped.cache_clear()
    yield tmp_path
    zoo.shipped.cache_clear()


def test_models_are_described_from_their_files(
    folder: Path, capsys: pytest.CaptureFixture[str], tiny_codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    catalog.models(json=True)
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    small = rows["small"]
    assert not small["default"] and rows[zoo.DEFAULT]["default"]
    assert small["unit"] == "gru" and small["kodak"] == {"ms_ssim": 1.6} and rows[zoo.DEFAULT]["kodak"] == {}
    assert small["digest"] == weights.digest(tiny_codec(unit="gru")).hex() and small["entropy_digest"] is None
    assert small["parameters"] == sum(p.numel() for p in tiny_codec(unit="gru").parameters())
    catalog.models()
    table = capsys.readouterr().out
    assert "1.6000" in table and f"{zoo.DEFAULT} *" in table


def test_a_folder_whose_name_reads_like_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a[b]" / "m[x].safetensors"
    path.parent.mkdir()
    weights.save(path, tiny_codec(unit="gru"))
    monkeypatch.setattr(zoo, "shipped", lambda: {"m[x]": path})
    catalog.models()
    printed = capsys.readouterr().out
    assert f"card: {path.with_suffix('.md')}" in printed and "m[x] " in printed


def test_default_and_names_are_found(folder: Path) -> None:
    assert zoo.find(None).stem == zoo.DEFAULT
    assert zoo.find("small") == folder / "small.safetensors"
    with pytest.raises(FileNotFoundError, match=f"the shipped models are small, {zoo.DEFAULT}"):
        zoo.find("smal")


def test_parameters_are_counted_without_torch_as_with_it() -> None:
    path = zoo.shipped()["residual_gru_dct64"]
    assert catalog.describe(path.stem, path)["parameters"] == sum(p.numel() for p in weights.load(path).parameters())
