"""The definitions themselves, against formulas written another way."""

import torch

from rnncomp_kernels import reference


def randn(*size):
    return torch.randn(size, dtype=torch.float64)


def test_lstm_is_torchs_lstm_cell():
    channels, batch = 3, 5
    cell = torch.nn.LSTMCell(2, channels, dtype=torch.float64)
    x, h, c = randn(batch, 2), randn(batch, channels), randn(batch, channels)
    i, f, g, o = (x @ cell.weight_ih.T + cell.bias_ih).chunk(4, 1)
    hi, hf, hg, ho = (h @ cell.weight_hh.T + cell.bias_hh).chunk(4, 1)
    ours = [torch.cat(order, 1)[..., None, None] for order in ((f, i, o, g), (hf, hi, ho, hg))]
    result = reference.lstm_update(ours[0], c[..., None, None], ours[1])
    for new, expected in zip(result, cell(x, (h, c)), strict=True):
        torch.testing.assert_close(new[..., 0, 0], expected)


def test_associative_lstm_in_complex_numbers():
    k = 4
    gates, c = randn(2, 9 * k, 3, 3) * 2, randn(2, 2 * k, 3, 3)

    def bound(z):
        return torch.where(z.abs() > 1, z / z.abs(), z)

    def as_complex(x):
        return torch.complex(x[:, :k], x[:, k:])

    f, i, o = gates[:, : 3 * k].sigmoid().chunk(3, 1)
    j, r_i, r_o = (bound(as_complex(x)) for x in gates[:, 3 * k :].chunk(3, 1))
    new_c = f * as_complex(c) + r_i * i * j
    h = o * bound(r_o * new_c)
    result = reference.associative_lstm_update(gates, c)
    torch.testing.assert_close(as_complex(result.h), h)
    torch.testing.assert_close(as_complex(result.c), new_c)


def test_gru_is_equations_12_and_13():
    """Element by element from the paper, with the hidden convolution an arbitrary matrix, reset before it."""
    x_z, x_r, x_n, h = (randn(1, 2, 1, 1) for _ in range(4))
    u_z, u_r, u = (randn(2, 2) for _ in range(3))

    def apply(matrix, v):
        return torch.einsum("oc,bchw->bohw", matrix, v)

    gates, hidden = torch.cat((x_z, x_r, x_n), 1), torch.cat((apply(u_z, h), apply(u_r, h)), 1)
    result = reference.gru_update(gates, hidden, apply(u, reference.gru_reset(gates, hidden, h)), h)
    z = 1 / (1 + torch.exp(-(x_z + apply(u_z, h))))
    r = 1 / (1 + torch.exp(-(x_r + apply(u_r, h))))
    torch.testing.assert_close(result, (1 - z) * h + z * torch.tanh(x_n + apply(u, r * h)))


def test_residual_gru_adds_the_two_alpha_terms():
    gates, hidden, candidate, h = randn(2, 12, 2, 2), randn(2, 9, 2, 2), randn(2, 3, 2, 2), randn(2, 3, 2, 2)
    plain = reference.gru_update(gates[:, :9], hidden[:, :6], candidate, h)
    result = reference.residual_gru_update(gates, hidden, candidate, h, alpha_h=0.1, alpha_x=0.25)
    torch.testing.assert_close(result.h, plain + 0.1 * hidden[:, 6:])
    torch.testing.assert_close(result.out, result.h + 0.25 * gates[:, 9:])


def test_a_missing_state_is_a_state_of_zeros():
    zero = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    gates = randn(2, 12, 2, 2)
    for x, y in zip(reference.lstm_update(gates), reference.lstm_update(gates, zero), strict=True):
        assert torch.equal(x, y)
    wide = torch.zeros(2, 9, 2, 2, dtype=torch.float64)
    for x, y in zip(
        reference.residual_gru_update(gates), reference.residual_gru_update(gates, wide, zero, zero), strict=True
    ):
        torch.testing.assert_close(x, y)
    torch.testing.assert_close(
        reference.gru_update(gates[:, :9]), reference.gru_update(gates[:, :9], wide[:, :6], zero, zero)
    )


def test_philox_known_answers():
    """The vectors of Random123's kat_vectors for philox4x32-10, and one key of ours against a scalar transcription."""
    assert reference.philox(torch.tensor([0]), 0)[0].tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]

    def scalar(counter, seed):
        c, k = [counter, 0, 0, 0], [seed & 0xFFFFFFFF, seed >> 32]
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        return c

    for counter, seed in ((1, 1), (2**31, 2**63 - 1), (123456, 987654321987)):
        assert reference.philox(torch.tensor([counter]), seed)[0].tolist() == scalar(counter, seed)
        assert reference.philox(torch.tensor([counter]), torch.tensor(seed))[0].tolist() == scalar(counter, seed)
