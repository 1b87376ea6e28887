"""Full-resolution image compression with recurrent neural networks: models, codec, training, evaluation.

`lit_rnncomp.load("weights.safetensors")` gives a codec with `encode` and `decode`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codec.api import Codec, load
    from .models.config import CodecConfig
    from .models.recurrent_codec import RecurrentCodec

    __version__: str

__all__ = ["Codec", "CodecConfig", "RecurrentCodec", "__version__", "load"]

_HOMES = {
    "Codec": "codec.api",
    "CodecConfig": "models.config",
    "RecurrentCodec": "models.recurrent_codec",
    "load": "codec.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("lit-rnncomp")
    # Lazy, so that `lit-rnncomp --help` does not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "import_module"})
