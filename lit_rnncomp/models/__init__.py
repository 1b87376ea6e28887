"""Floor 1: the networks. torch and `rnncomp_kernels` only."""

from .config import CodecConfig
from .recurrent_codec import CodecOutput, RecurrentCodec

__all__ = ["CodecConfig", "CodecOutput", "RecurrentCodec"]
