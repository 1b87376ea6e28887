"""Floor 3: Lightning modules, one for each architecture variant, and what a run needs around them."""

from .compressors import AssociativeLSTMCompressor, Compressor, GRUCompressor, LSTMCompressor, ResidualGRUCompressor

__all__ = ["AssociativeLSTMCompressor", "Compressor", "GRUCompressor", "LSTMCompressor", "ResidualGRUCompressor"]
