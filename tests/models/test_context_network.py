"""The entropy model of ternary codes: integers in NumPy against torch, whatever the order of summation."""

import numpy as np
import pytest
import torch

from lit_rnncomp.models import lapped, ternary
from lit_rnncomp.models.context_model import ContextModel, codes, levels
from lit_rnncomp.models.context_network import Context, ContextNetwork, EntropyModelError
from lit_rnncomp.models.ternary import PASSES, groups


def random_model(seed=0, channels=24, size=8):
    """Not trained, but with every weight away from its start."""
    torch.manual_seed(seed)
    model = ContextModel(channels, blocks=2, size=size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def coefficients(rows=5, columns=7, seed=0):
    """What a picture of noise over a ramp leads to. `(rows, columns, 192)`."""
    random = np.random.default_rng(seed)
    image = random.normal(np.linspace(0, 255, columns * 8)[None, :, None], 20, (rows * 8, columns * 8, 3))
    return lapped.analysis(np.clip(image, 0, 255).astype(np.uint8)) * np.float32(1.7)


def walk(network, x, scale=70, tune=1, iterations=9, split=None):
    """Probabilities of every pass, by iteration and pass, with all coefficients active."""
    context = Context(network, *x.shape[:2], tune, scale, split)
    active = tuple(map(len, groups()))
    for t in range(iterations):
        context.begin(active)
        new = (ternary.levels(x, t + 1) - 2 * context.levels).astype(np.int8)
        odd = ternary.parity(*x.shape[:2])
        for index, (group, parity) in enumerate(PASSES):
            sent = new[odd == bool(parity)][:, groups()[group]]
            yield t, index, sent, context.known_signs(index), *context.probabilities(index)
            context.put(index, sent)
        context.end(new)


@pytest.mark.parametrize("size", lapped.SIZES)
def test_integers_are_the_rounded_network(size):
    model, x = random_model(size=size), coefficients(6, 8)
    network, split = ContextNetwork(model.integers()), None
    if size == 16:
        split = np.random.default_rng(2).random((3, 4)) < 0.4
    bits = {}
    for t, index, sent, signs, *probabilities in walk(network, x, split=split):
        some, positive = (probability.astype(int) for probability in probabilities)
        cost = -np.log2(np.where(sent != 0, some, 65536 - some) / 65536).sum()
        cost -= (np.log2(np.where(sent > 0, positive, 65536 - positive) / 65536) * ((sent != 0) & (signs == 0))).sum()
        bits[t, index] = cost
    planes = torch.from_numpy(x).permute(2, 0, 1)[None]
    for t in range(9):
        now = torch.tensor([t])
        with torch.no_grad():
            expected = model(
                levels(planes, now),
                codes(planes, now),
                torch.tensor([ternary.embedding(t, 70)]),
                torch.tensor([1]),
                None if split is None else torch.from_numpy(split)[None],
            )
        found = [bits[t, index] for index in range(len(PASSES))]
        # Steps of 1/32 between logits, and biases that the network does not round.
        np.testing.assert_allclose(found, expected[0].numpy(), rtol=0.01, atol=1.5)


def test_exact_in_any_order_of_summation(monkeypatch):
    """Wider floats, other bands, and channels in another order give the same integers."""
    model, x = random_model(), coefficients(6, 11)
    plain = [row[-2:] for row in walk(ContextNetwork(model.integers()), x)]
    monkeypatch.setattr("lit_rnncomp.models.context_network._BAND", 11)
    banded = [row[-2:] for row in walk(ContextNetwork(model.integers()), x)]
    monkeypatch.setattr("lit_rnncomp.models.context_network._BAND", 10**6)
    wide = ContextNetwork(model.integers())
    for name, value in vars(wide).items():
        if name in ("stem", "wide", "back", "seen", "mix", "merge", "head"):
            layers = value if isinstance(value, list) else [value]
            layers = [
                layer._replace(weight=layer.weight.astype(np.float64), bias=layer.bias.astype(np.float64))
                for layer in layers
            ]
            setattr(wide, name, layers if isinstance(value, list) else layers[0])
    for other in (banded, [row[-2:] for row in walk(wide, x)]):
        for (a, b), (c, d) in zip(plain, other, strict=True):
            assert (a == c).all() and (b == d).all()


def test_only_active_coefficients_are_asked_for():
    network, x = ContextNetwork(random_model().integers()), coefficients()
    context = Context(network, 5, 7, 0, 0)
    context.begin((3, 0, 2))
    some, positive = context.probabilities(0)
    assert some.shape == positive.shape == (18, 3)
    assert context.probabilities(5)[0].shape == (17, 2)
    assert x.shape == context.levels.shape


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tensors: tensors.pop("mix.2.weight"),
        lambda tensors: tensors.update({"head.1.bias": tensors["head.1.bias"][:-1]}),
        lambda tensors: tensors.update({"back.0.bias": np.full_like(tensors["back.0.bias"], 2**30)}),
        lambda tensors: tensors.update({"stem.exponent": np.full_like(tensors["stem.exponent"], 40)}),
        lambda tensors: tensors.update({"probability": np.zeros_like(tensors["probability"])}),
        lambda tensors: tensors.update({"embedding": tensors["embedding"].astype(np.float32)}),
        lambda tensors: tensors.update({"stem.weight": np.zeros((1, 768), np.int8)}),
    ],
)
def test_tensors_that_do_not_fit_are_refused(spoil):
    tensors = random_model().integers()
    spoil(tensors)
    with pytest.raises(EntropyModelError, match="entropy model"):
        ContextNetwork(tensors)


def test_rounding_in_training_passes_gradients():
    model = random_model(channels=8)
    planes = torch.from_numpy(coefficients()).permute(2, 0, 1)[None]
    t = torch.tensor([5])
    model(levels(planes, t), codes(planes, t), torch.tensor([20]), torch.tensor([0])).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
