"""What identifies a network in the files that are made with it. A change here is a change of the format: no old file
decodes after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGEST_KEY = "digest"
"""In the metadata of a weights file: the digest of what it holds, in hexadecimal digits."""


def fingerprint(config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], dtype: str) -> bytes:
    """8 bytes of SHA-256 over a configuration as JSON, and tensors in the order of their names, however they are
    stored, as `dtype`."""
    sha = hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(np.ascontiguousarray(tensor, dtype).tobytes())
    return sha.digest()[:8]
