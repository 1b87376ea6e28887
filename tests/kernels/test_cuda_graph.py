"""A captured CUDA graph of the ops gives what eager gives, and draws new noise when its seed changes."""

import pytest
import torch

import rnncomp_kernels as ops


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_replayed_graph_equals_eager_and_draws_new_noise():
    x = torch.randn(2, 8, 16, 16, device="cuda")
    seed = torch.zeros((), dtype=torch.int64, device="cuda")

    def step():
        codes = ops.binarize(x, stochastic=True, seed=seed)
        return (x - ops.lstm_update(codes).h.repeat(1, 4, 1, 1)).abs().sum(), codes

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        l1, codes = step()
    drawn = []
    for s in (1, 2):
        seed.fill_(s)
        graph.replay()
        drawn.append(codes.clone())
        torch.testing.assert_close(l1, step()[0])
    assert not torch.equal(*drawn)
