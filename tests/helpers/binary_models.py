"""A tiny codec of binary codes with an entropy model, not trained."""

from __future__ import annotations

import torch

from lit_rnncomp.codec.binary_codec import BinaryCodec
from lit_rnncomp.codec.entropy import EntropyCoder
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.recurrent_codec import RecurrentCodec

from .entropy_models import tensors_and_config


def codec() -> BinaryCodec:
    """Four iterations of eight bits for each 8x8 pixels."""
    config = CodecConfig(unit="gru", width=0.01, iterations=4, bits=8, code_stride=8, frontend="dct")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = RecurrentCodec(config)
    return BinaryCodec(network, "tiny", entropy=EntropyCoder(*tensors_and_config(bits=8)))
