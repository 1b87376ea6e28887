"""What ternary codes cost: lengths that an adaptive range coder writes, and a price that codes can learn from."""

import constriction
import numpy as np
import pytest
import torch

from lit_rnncomp.models.loop import Estimate, Iteration
from lit_rnncomp.training.code_lengths import _PRIOR, lengths, priced

SYMBOLS = (0, 1, -1)


def step(codes, before=None):
    """An iteration with these codes."""
    return Iteration(codes, Estimate(1, previous=0.0 if before is None else before))


def drawn(seed, shape=(2, 192, 5, 7), share=0.2):
    """Codes, rarer the higher their frequency, and an estimate that is 0 in most places."""
    random = torch.Generator().manual_seed(seed)
    often = share * torch.linspace(1, 0, shape[1])[:, None, None]
    signs = torch.randint(2, shape, generator=random) * 2.0 - 1
    codes = (torch.rand(shape, generator=random) < often) * signs
    known = torch.rand(shape, generator=random) < often
    return codes, known * signs.roll(1, 0) * 64.0


class Tables:
    """Two for each coefficient, which count what is coded."""

    def __init__(self):
        self.seen = np.tile(np.array(_PRIOR), (192, 1, 1))

    def model(self, coefficient, before):
        seen = self.seen[coefficient, int(before != 0)]
        return constriction.stream.model.Categorical(seen / seen.sum(), perfect=False)

    def count(self, coefficient, before, symbol):
        self.seen[coefficient, int(before != 0), symbol] += 1


def test_the_lengths_are_what_an_adaptive_range_coder_writes_and_reads():
    codes, before = drawn(1)
    for bits, code, estimate in zip(lengths(step(codes, before)), codes.numpy(), before.numpy(), strict=True):
        encoder, tables = constriction.stream.queue.RangeEncoder(), Tables()
        for place in np.ndindex(code.shape):
            turned = code[place] * (np.sign(estimate[place]) or 1)
            symbol = SYMBOLS.index(turned)
            encoder.encode(symbol, tables.model(place[0], estimate[place]))
            tables.count(place[0], estimate[place], symbol)
        words = encoder.get_compressed()
        assert bits <= 32 * len(words) < 1.001 * bits + 64
        decoder, tables, decoded = constriction.stream.queue.RangeDecoder(words), Tables(), np.zeros_like(code)
        for place in np.ndindex(code.shape):
            symbol = decoder.decode(tables.model(place[0], estimate[place]))
            tables.count(place[0], estimate[place], symbol)
            decoded[place] = SYMBOLS[symbol] * (np.sign(estimate[place]) or 1)
        assert (decoded == code).all()
        assert bits > 1000, "enough for a thousandth to mean something"


def test_nothing_costs_next_to_nothing():
    (bits,) = lengths(step(torch.zeros(1, 192, 32, 32)))
    assert 0 < bits / 192 < 2
    codes, _ = drawn(2)
    assert (lengths(step(codes)) > 1000).all()


def test_the_price_is_the_entropy_of_a_batch():
    codes, before = drawn(3, (4, 192, 16, 16))
    price = priced(step(codes, before)) * 4 * 16 * 16 * 64
    total = 0.0
    for coefficient in range(192):
        code, estimate = codes[:, coefficient].flatten(), before[:, coefficient].flatten()
        turned = code * torch.where(estimate == 0, 1, estimate.sign())
        for known in (False, True):
            count = torch.stack([(turned[(estimate != 0) == known] == symbol).sum() for symbol in SYMBOLS]).double()
            begun = torch.tensor(_PRIOR[known]).double()
            total -= (count * ((count + begun) / (count + begun).sum()).log2()).sum().item()
    assert price.item() == pytest.approx(total, rel=1e-5)
    assert price < lengths(step(codes, before)).sum()


def test_rare_codes_are_drawn_to_zero_and_zeros_stay():
    codes, before = drawn(4)
    codes.requires_grad_()
    priced(step(codes, before)).backward()
    assert (codes.grad[codes == 0] == 0).all()
    fresh = (codes != 0) & (before == 0)
    assert (codes.grad[fresh] * codes[fresh] > 0).all()
