"""What every op promises, on whichever path this process takes: the reference, or the kernels (see
test_interpreter.py)."""

import pytest
import torch
from helpers.op_cases import CASES, gradients, promoted, results
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnncomp_kernels as ops

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def channels_last(x):
    return x if x is None else x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()


DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@each_case
def test_gradients_are_those_of_the_formula(case):
    inputs = case.inputs((2, 2, 1, 3), torch.float64)
    given_inputs = [x for x in inputs if x is not None]

    def function(*tensors):
        rest = iter(tensors)
        return tuple(case.run(case.op, [None if x is None else next(rest) for x in inputs]))

    assert torch.autograd.gradcheck(function, given_inputs, fast_mode=True)


@pytest.mark.filterwarnings(
    "ignore:overflow encountered:RuntimeWarning"
)  # NumPy's, in the interpreter: exp(1e4) is infinity, as meant
@each_case
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_saturates_without_nan(case, dtype):
    for scale in (1e4, 1e-6):
        inputs = case.inputs((1, 3, 5, 7), dtype, scale)
        for x in results(case, case.op, inputs):
            assert x.dtype == dtype
            assert not x.isnan().any()


@each_case
def test_empty_batch(case):
    inputs = case.inputs((0, 3, 2, 2), torch.float32)
    outputs, grads = gradients(case, case.op, inputs)
    assert [g.shape for g in grads] == [x.shape for x in inputs if x is not None]
    assert all(o.numel() == 0 or o.item() == 0 for o in outputs)  # l1 of nothing is 0


@each_case
def test_memory_format_does_not_matter(case):
    inputs = case.inputs((2, 4, 3, 5), torch.float32)
    expected = results(case, case.op, inputs)

    def strided(x):
        return x if x is None else torch.stack((x.detach(), x.detach()), dim=-1)[..., 0].requires_grad_()

    for relaid in (channels_last, strided):
        result = results(case, case.op, [relaid(x) for x in inputs])
        for x, y in zip(result, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


@each_case
def test_inputs_are_left_alone(case):
    inputs = case.inputs((1, 2, 3, 3), torch.float32)
    before = promoted(inputs, torch.float32)
    gradients(case, case.op, inputs)
    for x, y in zip(inputs, before, strict=True):
        assert x is y is None or torch.equal(x, y)


@each_case
def test_without_autograd_gives_the_same(case):
    inputs = case.inputs((1, 2, 3, 3), torch.float32)
    with torch.no_grad():
        bare = case.run(case.op, inputs)
    for x, y in zip(bare, case.run(case.op, inputs), strict=True):
        assert torch.equal(x, y)


@each_case
def test_one_output_may_be_unused(case):
    """A gradient that autograd does not ask for is a gradient of zero."""
    inputs = [x for x in case.inputs((1, 2, 3, 3), torch.float64) if x is not None]
    slots = iter(inputs)
    arguments = [None if k is None else next(slots) for k in case.blocks]
    outputs = case.run(case.op, arguments)
    for i, output in enumerate(outputs):
        expected = torch.autograd.grad(
            case.run(case.definition, arguments)[i].sum(), inputs, allow_unused=True, materialize_grads=True
        )
        result = torch.autograd.grad(output.sum(), inputs, allow_unused=True, materialize_grads=True, retain_graph=True)
        for x, y in zip(result, expected, strict=True):
            torch.testing.assert_close(x, y)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    case=st.sampled_from(CASES),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    last=st.booleans(),
)
def test_any_shape(case, shape, last):
    inputs = case.inputs(shape, torch.float64)
    if last:
        inputs = [channels_last(x) for x in inputs]
    result, expected = results(case, case.op, inputs), results(case, case.definition, inputs)
    for x, y in zip(result, expected, strict=True):
        torch.testing.assert_close(x, y)


T = torch.zeros


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.lstm_update(T(1, 10, 2, 2)),
            r"lstm_update: gates has shape \(1, 10, 2, 2\), expected \(B, 4 \* C, H, W\)",
        ),
        (lambda: ops.lstm_update(T(8)), "lstm_update: gates has shape"),
        (lambda: ops.lstm_update(T(1, 8, 2, 2), T(1, 3, 2, 2)), r"c has shape \(1, 3, 2, 2\), expected \(1, 2, 2, 2\)"),
        (
            lambda: ops.lstm_update(T(1, 8, 2, 2), T(1, 2, 2, 2).half()),
            "c is torch.float16 on cpu, expected torch.float32",
        ),
        (lambda: ops.associative_lstm_update(T(1, 8, 2, 2)), "associative_lstm_update: gates has shape"),
        (
            lambda: ops.gru_reset(T(1, 2, 2, 2), T(1, 4, 2, 2), T(1, 2, 2, 2)),
            "gru_reset: gates has shape .* expected z and r at least",
        ),
        (
            lambda: ops.gru_update(T(1, 6, 2, 2), T(1, 4, 2, 2)),
            "hidden_candidate, h missing; .* together or not at all",
        ),
        (lambda: ops.residual_gru_update(T(1, 8, 2, 2), h=T(1, 2, 2, 2)), "hidden_gates, hidden_candidate missing"),
        (lambda: ops.binarize(T(3, 2)), "binarize: x has shape"),
        (lambda: ops.ternarize(T(3, 2)), "ternarize: x has shape"),
    ],
)
def test_errors_name_the_tensor_and_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
