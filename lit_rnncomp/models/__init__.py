"""Floor 1: the networks. torch and `rnncomp_kernels`; NumPy alone where a picture must not wait for torch to start."""

from typing import TYPE_CHECKING, Any

from .config import CodecConfig

if TYPE_CHECKING:
    from .recurrent_codec import CodecOutput, RecurrentCodec

__all__ = ["CodecConfig", "CodecOutput", "RecurrentCodec"]


def __getattr__(name: str) -> Any:
    if name in ("CodecOutput", "RecurrentCodec"):
        from . import recurrent_codec

        return getattr(recurrent_codec, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
