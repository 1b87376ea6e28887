"""The entropy models see nothing that is coded later, have the published sizes, and learn in both arithmetics."""

import pytest
import torch
import torch.nn.functional as F

from lit_rnncomp.models.binary_rnn import BinaryRNN, BinaryRNNConfig

VARIANTS = [
    {"progressive": False, "shared": False},
    {"progressive": False, "shared": True},
    {"wiring": "released", "shared": True},
    {"wiring": "released", "shared": False},
    {"wiring": "paper", "shared": True},
    {"line": "conv", "shared": True},
]


def make(**options) -> BinaryRNN:
    torch.manual_seed(0)
    return BinaryRNN(BinaryRNNConfig(**{"bits": 3, "iterations": 3, "width": 8, "state": 4, **options}))


def random_codes(*shape: int) -> torch.Tensor:
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(1)).float() * 2 - 1


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("position", [(1, 4, 5), (2, 0, 0), (0, 7, 10)])
@pytest.mark.parametrize("quantized", [False, True])
def test_no_probability_depends_on_a_bit_that_is_coded_later(options, position, quantized):
    model = make(**options)
    model.quantized = quantized
    rows, columns = 8, 11
    codes = random_codes(1, 3, 3, rows, columns).requires_grad_()
    t, y, x = position
    model(codes)[0, t, :, y, x].sum().backward()
    seen = codes.grad[0].abs().sum(1).flatten()
    now = (t * rows + y) * columns + x
    assert (seen[now:] == 0).all()
    if y:
        assert seen[now - columns] > 0, "the position above is context"
    if x:
        assert seen[now - 1] > 0, "the position to the left is context"
    if t and options.get("progressive", True):
        before = seen.view(3, rows, columns)[t - 1]
        assert before[y, x] > 0, "the iteration before is context"
        assert before[min(y + 1, rows - 1), min(x + 1, columns - 1)] > 0, "on all sides"
    elif t:
        assert (seen.view(3, -1)[:t] == 0).all(), "single-iteration models see one iteration"


@pytest.mark.parametrize("options", VARIANTS)
def test_the_first_iterations_do_not_need_the_later_ones(options):
    model = make(**options).double()
    codes = random_codes(2, 3, 3, 6, 5).double()
    torch.testing.assert_close(model(codes[:, :2]), model(codes)[:, :2], rtol=0, atol=1e-12)


def test_sizes_are_those_of_the_released_code():
    model = BinaryRNN(BinaryRNNConfig(bits=32, iterations=16, width=64, state=32, shared=False))
    over_iterations = sum(p.numel() for p in (*model.layer.parameters(), *model.project.parameters()))
    per_iteration = sum(p.numel() for p in model.parameters()) - over_iterations
    assert per_iteration == 16 * 225_856
    # One bias more for each further iteration in the two 1x1 of `project`.
    assert over_iterations == 31_072 + 15 * (64 + 32)


def test_sharing_keeps_the_shipped_model_small():
    tensors, _ = BinaryRNN(BinaryRNNConfig(bits=8, iterations=16, width=64, state=32)).integers()
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) < 300_000


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("options", VARIANTS)
def test_every_parameter_gets_a_gradient(options, quantized):
    model = make(**options)
    model.quantized = quantized
    codes = random_codes(1, 3, 3, 8, 8)
    F.binary_cross_entropy_with_logits(model(codes), (codes + 1) / 2).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_rounding_is_a_small_change():
    model = make(width=32, state=16)
    codes = random_codes(1, 3, 3, 12, 12)
    exact = model(codes)
    model.quantized = True
    rounded = model(codes)
    assert 0 < (rounded - exact).abs().max() < 0.1
    assert (rounded * 128 == (rounded * 128).round()).all(), "logits lie on the probability table's grid"


def test_it_learns_a_rule_in_the_arithmetic_that_ships():
    model = make(bits=2, iterations=2, width=12, state=4)
    model.quantized = True
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        # The second iteration negates the first; every column of the first repeats its leftmost bits.
        first = (
            torch.randint(0, 2, (4, 1, 2, 6, 1), generator=generator).float().mul(2).sub(1).expand(-1, -1, -1, -1, 6)
        )
        codes = torch.cat((first, -first), 1)
        loss = F.binary_cross_entropy_with_logits(model(codes), (codes + 1) / 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # One position in twelve cannot be known: 0.058 nats.
    assert loss < 0.1


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 4, 3, 5, 5), "1 to 3 iterations"), ((1, 2, 4, 5, 5), r"\(B, T, 3, H, W\)"), ((2, 3, 5, 5), "must be")],
)
def test_codes_of_another_shape_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        make()(random_codes(*shape))


@pytest.mark.parametrize("options", [{"width": 0}, {"wiring": "figure"}])
def test_impossible_configurations_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        BinaryRNNConfig(**options)
