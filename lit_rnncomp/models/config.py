"""Everything that decides a network's shape and meaning, in one frozen record that travels with its weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NoReturn, get_args

from . import ternary
from .lapped import COEFFICIENTS

Unit = Literal["lstm", "associative_lstm", "gru", "residual_gru"]
Reconstruction = Literal[
    "one_shot", "additive", "residual_scaling", "iteration_gain", "coefficient_gain", "measured_gain"
]
Frontend = Literal["conv", "dct", "lapped"]
Binarize = Literal["stochastic", "sign"]
GainInput = Literal["residual", "reconstruction"]
Output = Literal["linear", "tanh"]
Padding = Literal["symmetric", "tf_same"]
Projections = Literal["shared", "per_iteration"]
Codes = Literal["binary", "ternary"]
Layers = Literal["toderici2017", "toderici2016"]

ALPHA = 0.1
"""What the residual GRU's skips weigh (equations 14 and 15), of the state and of the input."""

# Headers of files name a unit and a framework by their place in these: new ones go to the end.
UNITS: tuple[Unit, ...] = get_args(Unit)
RECONSTRUCTIONS: tuple[Reconstruction, ...] = get_args(Reconstruction)


@dataclass(frozen=True)
class CodecConfig:
    """One member of the family. The defaults are the paper's where the paper speaks.

    The digest of a network leaves out what has its default: a field may be added, but no default may change, nor a
    field its name.

    Args:
        unit: recurrent unit. `associative_lstm` is used in the decoder only, its encoder is an LSTM (section 2.1).
        reconstruction: `one_shot`, `additive`, `residual_scaling` (section 2.2); or additive with gains that do not
            follow the picture: `iteration_gain`, one learned for each iteration, and with the DCT front end
            `coefficient_gain`, one learned for each coefficient of each iteration, and `measured_gain`, one measured
            for each: what brings the residual of the training pictures to the size of 1.
        width: multiplies every channel count of the layer table; counts are rounded to multiples of 8. 1.0 is the
            paper.
        iterations: the most iterations the network is trained for; each costs `bits / code_stride ** 2` bits per pixel.
        bits: symbols at each position of the code, for each iteration: bits, or ternary codes.
        code_stride: pixels a side of one position of the code, 16 (the paper) or 8; 4 with `layers` of 2016.
        frontend: `conv` is the layer table; `dct` puts a fixed 8x8 DCT and its inverse around recurrent layers at 1/8
            resolution; `lapped` likewise the lapped transform that ternary codes need.
        binarize: noise of the binarizer in training: `stochastic` (the paper) or `sign`.
        gain_input: what the gain estimator sees: the estimate of the last `residual` (the paper's figure 2 and prose),
            or the `reconstruction` so far (its equation 16).
        output: `linear`, or `tanh` to bound each decoder output to [-1, 1]; the paper does not say.
        padding: `symmetric`, or `tf_same` to place samples as TensorFlow's SAME does at stride 2.
        priming: extra runs of the recurrent layers before the first code and before the first picture (Johnston et al.,
            2018).
        projections: the convolutions into and out of the recurrent layers of both networks: `shared` by all iterations
            (the paper), or `per_iteration`. The recurrent layers are always shared.
        shortcut: also a linear path around the recurrent layers, a matrix for each iteration: from the scaled residual
            to the binarizer, and from the code to the reconstruction, there times a gate. Needs the DCT front end with
            a code at 1/8.
        codes: `binary` (the paper); or `ternary`, one of -1, 0 and +1 for each coefficient of the lapped transform.
            Gains then double from iteration to iteration, codes are those of the scaled residual plus what the encoder
            makes of it, the estimate adds codes up, and what the decoder makes of them corrects pictures alone; both
            start at zero, so that an untrained network is an embedded transform coder.
        layers: the layer table of the convolutional front end: `toderici2017` (the paper), or `toderici2016`, the LSTM
            network that it compares with (Toderici et al., "Variable Rate Image Compression with Recurrent Neural
            Networks", ICLR 2016), whose code is at 1/4.

    Raises:
        ValueError: a value is outside its range; the message names it.
    """

    unit: Unit = "lstm"
    reconstruction: Reconstruction = "additive"
    width: float = 1.0
    iterations: int = 16
    bits: int = 32
    code_stride: int = 16
    frontend: Frontend = "conv"
    binarize: Binarize = "stochastic"
    gain_input: GainInput = "residual"
    output: Output = "linear"
    padding: Padding = "symmetric"
    priming: int = 0
    projections: Projections = "shared"
    shortcut: bool = False
    codes: Codes = "binary"
    layers: Layers = "toderici2017"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name}={value!r} is not one of {', '.join(map(str, choices))}")
        if self.reconstruction in ("coefficient_gain", "measured_gain") and self.frontend != "dct":
            raise ValueError(f"reconstruction={self.reconstruction!r} needs frontend='dct'")
        if self.shortcut and (self.frontend, self.code_stride) != ("dct", 8):
            raise ValueError("shortcut=True needs frontend='dct' and code_stride=8")
        if (self.codes == "ternary") != (self.frontend == "lapped"):
            raise ValueError(f"codes={self.codes!r} and frontend={self.frontend!r}: 'ternary' and 'lapped' go together")
        if self.codes == "ternary":
            self._require("codes='ternary'", {"reconstruction": "additive", "code_stride": 8, "bits": COEFFICIENTS})
            if self.iterations > ternary.ITERATIONS:
                raise ValueError(f"iterations={self.iterations} is outside 1..{ternary.ITERATIONS} of codes='ternary'")
        if self.layers == "toderici2016":
            self._require("layers='toderici2016'", {"unit": "lstm", "frontend": "conv", "code_stride": 4})
        elif self.code_stride not in (8, 16):
            raise ValueError(f"code_stride={self.code_stride} is neither 8 nor 16, which layers={self.layers!r} has")
        if not 0 < self.width <= 4:
            raise ValueError(f"width={self.width} is outside (0, 4]")
        if not 1 <= self.iterations <= 255:
            raise ValueError(f"iterations={self.iterations} is outside 1..255")
        if not 1 <= self.bits <= 255:
            raise ValueError(f"bits={self.bits} is outside 1..255")
        if not 0 <= self.priming <= 16:
            raise ValueError(f"priming={self.priming} is outside 0..16")

    def _require(self, what: str, needed: dict[str, Any]) -> None:
        if wrong := [f"{name}={value!r}" for name, value in needed.items() if getattr(self, name) != value]:
            raise ValueError(f"{what} needs {' and '.join(wrong)}")

    @property
    def multiple(self) -> int:
        """Height and width of every picture that the network takes are multiples of this many pixels."""
        return 32 if self.reconstruction == "residual_scaling" else self.code_stride

    @property
    def additive(self) -> bool:
        """Whether each iteration adds to the estimate before it (equation 1 with gamma 1), or makes it anew."""
        return self.reconstruction != "one_shot"

    @property
    def bpp_per_iteration(self) -> float:
        """Bits per pixel that one iteration costs before entropy coding (the paper: 1/8)."""
        return self.bits * (math.log2(3) if self.codes == "ternary" else 1) / self.code_stride**2

    def channels(self, paper: int) -> int:
        """The layer table's channel count `paper` at this width: a multiple of 8, at least 8."""
        return max(8, 8 * round(self.width * paper / 8))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a file's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CodecConfig:
        """The inverse of `to_dict`. Raises `ValueError` for a key that this version does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown codec option {', '.join(unknown)}; the file may come from a newer version")
        return cls(**values)


_CHOICES: dict[str, tuple[Any, ...]] = {
    "unit": UNITS,
    "reconstruction": RECONSTRUCTIONS,
    "frontend": get_args(Frontend),
    "binarize": get_args(Binarize),
    "gain_input": get_args(GainInput),
    "output": get_args(Output),
    "padding": get_args(Padding),
    "projections": get_args(Projections),
    "codes": get_args(Codes),
    "code_stride": (4, 8, 16),
    "layers": get_args(Layers),
}


def assert_never(value: NoReturn) -> NoReturn:
    """Stands where every value of a `Literal` has been dealt with: the type checker finds a forgotten one (`typing` has
    it from 3.11)."""
    raise AssertionError(f"nothing deals with {value!r}")
