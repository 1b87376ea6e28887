"""Comparing networks of ternary codes: equal compute, equal processor time, and a table of all that are done."""

import json
import time
from itertools import pairwise

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from lit_rnncomp.training import compare_ternary
from lit_rnncomp.training.compare_ternary import DECODER, ENTROPY, ProcessorTime, compare
from lit_rnncomp.training.ternary_decoder import TernaryDecoder


@pytest.fixture
def pictures(tmp_path):
    random = np.random.default_rng(0)
    for index in range(4):
        small = Image.fromarray(random.integers(0, 256, (6, 7, 3), dtype=np.uint8))
        (tmp_path / "pictures").mkdir(exist_ok=True)
        small.resize((176, 168), Image.Resampling.BICUBIC).save(tmp_path / "pictures" / f"{index}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("rows", [ENTROPY, DECODER], ids=["entropy", "decoder"])
def test_all_rows_of_a_table_have_about_as_many_multiply_adds(rows):
    with torch.device("meta"):
        counts = [compare_ternary.multiply_adds(row.kind(**row.options)) for row in rows.values()]
    assert max(counts) < 1.02 * min(counts)


def test_a_run_lasts_for_a_processor_time_and_its_rate_falls_at_the_end(pictures):
    from lit_rnncomp.data.module import PhotographData

    rates = []

    class Noting(L.Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])

    budget = ProcessorTime(2.0)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[budget, Noting()],
    )
    data = PhotographData(train=str(pictures), holdout=1, patch=32, batch_size=1, steps_per_epoch=10, multiple=8)
    module = TernaryDecoder(channels=8, blocks=1, schedule="constant", warmup=0, lr=0.1)
    module.configure_callbacks = list  # its best checkpoint is that of validations
    trainer.fit(module, data)
    assert budget.left == 0
    assert 2.0 <= time.process_time() - budget.start < 4.0
    assert rates[0] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert rates[-1] < 0.02
    assert sum(rate == pytest.approx(0.1) for rate in rates) > len(rates) / 2


@pytest.mark.slow
def test_rows_that_are_done_are_kept_and_all_stand_in_the_tables(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    compare(pictures, out, minutes=0.01, rows=["decoder_state"], holdout=1)
    first = (out / "decoder_state.json").read_text()
    compare(pictures, out, minutes=0.01, rows=["decoder_state", "state_codes"], holdout=1)
    assert (out / "decoder_state.json").read_text() == first
    printed = capsys.readouterr().out
    for name, row in (("decoder_state", DECODER["decoder_state"]), ("state_codes", ENTROPY["state_codes"])):
        found = json.loads((out / f"{name}.json").read_text())
        assert found["steps"] >= 1 and found["minutes"] == 0.01
        assert all(len(values) == 9 for values in found["values"].values())
        (line,) = {line for line in printed.splitlines() if line.startswith(f"| {row.title} |")}
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert float(cells[9]) == pytest.approx(sum(v[-1] for v in found["values"].values()) / 2, abs=1e-4)
    rates = json.loads((out / "state_codes.json").read_text())["values"]["psnr"]
    assert rates == sorted(rates)
    with pytest.raises(ValueError, match="there is no row none: there are shipped"):
        compare(pictures, out, rows=["none"])
    with pytest.raises(ValueError, match=r"decoder_state.json is of 0.01 minutes"):
        compare(pictures, out, minutes=0.02, rows=["decoder_state"], holdout=1)
