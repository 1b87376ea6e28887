"""Start a network from the weights of a simpler one."""

from __future__ import annotations

import re

from ..models.recurrent_codec import RecurrentCodec


def warm_start(codec: RecurrentCodec, start: RecurrentCodec) -> None:
    """Give `codec` the weights of `start`: the same network, or the same with shared projections or without the shortcut.

    Each iteration's projections start as the shared ones; a shortcut that `start` lacks keeps its zeros. Both codecs then reconstruct
    the same pictures. Raises `ValueError` when the networks differ in anything else.
    """
    given, wanted = start.state_dict(), codec.state_dict()
    state, used = {}, set()
    for name, value in wanted.items():
        shared = re.sub(r"\b(stem|head|conv)\.\d+\.", r"\1.", name)
        old = name if name in given else shared
        used.add(old)
        source = given.get(old, value if name.split(".")[1] in ("shortcut", "gate") else None)
        if source is None or source.shape != value.shape:
            there = "nothing" if source is None else tuple(source.shape)
            raise ValueError(f"cannot start from these weights: {name} is {tuple(value.shape)} in this network, {there} there")
        state[name] = source
    if unused := sorted(given.keys() - used):
        raise ValueError(f"cannot start from these weights: this network has no {unused[0]}")
    codec.load_state_dict(state)
