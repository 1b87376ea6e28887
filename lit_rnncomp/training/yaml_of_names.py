"""YAML for Lightning's parser, with names of files that are not UTF-8."""

from __future__ import annotations

import io
import re
from typing import Any

from jsonargparse import get_loader, set_loader
from omegaconf import OmegaConf
from yaml import YAMLError

MODE = "yaml_of_names"
# The bytes that UTF-8 does not have: as Python decodes them, and as characters of private use, which YAML takes.
_HIDDEN = {0xDC00 + byte: 0xF700 + byte for byte in range(128, 256)}
_SHOWN = {private: byte for byte, private in _HIDDEN.items()}
_ESCAPED = re.compile(r"\\udc(?=[89a-f][0-9a-f])", re.IGNORECASE)


def load(text: str) -> Any:
    """What YAML says, with OmegaConf's references to other values."""
    plain = _ESCAPED.sub(r"\\uf7", text).translate(_HIDDEN)
    value = get_loader("yaml")(plain)
    if isinstance(value, dict | list):
        resolved = OmegaConf.to_object(OmegaConf.load(io.StringIO(plain)))
        value = value if resolved == {plain: None} else resolved
    return _shown(value)


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_SHOWN)
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return {_shown(name): _shown(item) for name, item in value.items()} if isinstance(value, dict) else value


set_loader(MODE, load, exceptions=(YAMLError,))
