// Matrix products, and the residual layer that all networks are made of.

import { simd } from "./simd.js";

// `x -> x @ weight + bias`.
export class Matrix {
  // `weight(input, output)` and `bias(output)` give the numbers.
  constructor(inputs, outputs, weight, bias = () => 0) {
    this.inputs = inputs;
    this.width = Math.ceil(outputs / 8) * 8; // Numbers in a row of the result; those beyond `outputs` are 0.
    // Eight outputs side by side, so that the innermost loop reads on.
    this.panels = new Float32Array(inputs * this.width);
    this.bias = new Float32Array(this.width);
    for (let output = 0; output < outputs; output++) {
      const at = (output >> 3) * 8 * inputs + (output & 7);
      for (let input = 0; input < inputs; input++) this.panels[at + 8 * input] = weight(input, output);
      this.bias[output] = bias(output);
    }
  }

  // Writes the products of `count` rows of `x` (Float32Array; row k begins at `at + k * stride`) to `out`, or with
  // `add` adds them to it instead of to the bias.
  multiply(x, at, stride, count, out, add = false) {
    if (!add) for (let row = 0; row < count; row++) out.set(this.bias, row * this.width);
    product(this, x, at, stride, count, out);
  }
}

// Adds the product to `out`: the definition, and what runs where there is no SIMD. Sums of the entropy model's numbers
// are exact in 32-bit floats, whatever their order.
function plain({ inputs, width, panels }, x, at, stride, count, out) {
  for (let column = 0; column < width; column += 4) {
    const start = (column >> 3) * 8 * inputs + (column & 7), end = start + 8 * inputs;
    for (let row = 0; row < count; row++) {
      const to = row * width + column;
      let a = out[to], b = out[to + 1], c = out[to + 2], d = out[to + 3];
      for (let k = start, p = at + row * stride; k < end; k += 8, p++) {
        const value = x[p];
        (a += value * panels[k]), (b += value * panels[k + 1]);
        (c += value * panels[k + 2]), (d += value * panels[k + 3]);
      }
      (out[to] = a), (out[to + 1] = b), (out[to + 2] = c), (out[to + 3] = d);
    }
  }
}

let product = simd() ?? plain;

// Compute without SIMD from now on.
export function usePlain() {
  product = plain;
}

// Replaces `hidden` (rows, columns, channels) by `finish(hidden + back(activate(wide(hidden))))`, in place, a row at a
// time. `wide` is a 3x3 convolution of positions `reach` apart, zero outside the picture: three matrices, one for each
// row of its kernel; `back` a matrix. Both functions take and give one number.
export function residual(hidden, rows, columns, channels, wide, activate, back, finish, reach = 1) {
  const line = (columns + 2 * reach) * channels, row = columns * channels, kept = 2 * reach + 1;
  const lines = new Float32Array(kept * line); // Rows up to `reach` away, as they were, zero at each side.
  const seen = new Float32Array(reach > 1 ? 3 * row : 0); // Where `reach` is 1, neighbours lie side by side already.
  const inner = new Float32Array(columns * wide[0].width), out = new Float32Array(columns * back.width);
  const load = (y) => {
    const at = (y % kept) * line + reach * channels;
    if (y < rows) lines.set(hidden.subarray(y * row, (y + 1) * row), at);
    else lines.fill(0, at, at + row);
  };
  for (let y = 0; y < reach; y++) load(y);
  for (let y = 0; y < rows; y++) {
    load(y + reach);
    for (let dy = 0; dy < 3; dy++) {
      const at = ((y + (dy - 1) * reach + kept) % kept) * line;
      if (reach === 1) {
        wide[dy].multiply(lines, at, channels, columns, inner, dy > 0);
        continue;
      }
      for (let column = 0; column < columns; column++) {
        for (let dx = 0; dx < 3; dx++) {
          const from = at + (column + dx * reach) * channels;
          seen.set(lines.subarray(from, from + channels), (3 * column + dx) * channels);
        }
      }
      wide[dy].multiply(seen, 0, 3 * channels, columns, inner, dy > 0);
    }
    for (let index = 0; index < inner.length; index++) inner[index] = activate(inner[index]);
    back.multiply(inner, 0, wide[0].width, columns, out);
    for (let column = 0, at = y * row; column < columns; column++) {
      for (let k = 0; k < channels; k++, at++) hidden[at] = finish(hidden[at] + out[column * back.width + k]);
    }
  }
}
