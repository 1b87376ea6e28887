"""Full-resolution image compression with recurrent neural networks: models, codec, training, evaluation.

`lit_rnncomp.load("weights.safetensors")` gives a codec with `encode` and `decode`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codec.api import Codec, load
    from .models.config import CodecConfig
    from .models.recurrent_codec import RecurrentCodec

__all__ = ["Codec", "CodecConfig", "RecurrentCodec", "load"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `lit-rnncomp --help` does not wait for torch.
    if name in ("Codec", "load"):
        from .codec import api

        return getattr(api, name)
    if name == "CodecConfig":
        from .models.config import CodecConfig

        return CodecConfig
    if name == "RecurrentCodec":
        from .models.recurrent_codec import RecurrentCodec

        return RecurrentCodec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
