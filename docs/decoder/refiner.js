// The decoder's network: from levels to the coefficients that they most probably are. See "Decoder" in ../format.md.

import { Matrix, residual } from "./matrix.js";
import { COEFFICIENTS, MAGNITUDES, embedding } from "./ternary.js";

const silu = (x) => x / (1 + Math.exp(-x));
const same = (x) => x;

export class Refiner {
  constructor(tensors) {
    this.get = (name) => tensors.get(`refiner.${name}`).data;
    this.channels = this.get("stem.bias").length;
    const blocks = [...tensors.keys()].filter((name) => /^refiner\.wide\.\d+\.weight$/.test(name)).length;
    this.layers = Array.from({ length: blocks }, (_, k) => [this.convolution(`wide.${k}`), this.matrix(`back.${k}`)]);
    this.head = this.matrix("head");
    this.own = this.get("own.weight");
    const two = tensors.has("context.coarse.stem.weight");
    this.given = (k) => two && k % 64 === 0;
  }

  matrix(name, extra = () => 0) {
    const weight = this.get(`${name}.weight`), bias = this.get(`${name}.bias`);
    const inputs = weight.length / bias.length;
    return new Matrix(inputs, bias.length, (i, o) => weight[o * inputs + i], (o) => bias[o] + extra(o));
  }

  // The three rows of a 3x3 kernel, whose weights lie as (out, in, row, column).
  convolution(name) {
    const weight = this.get(`${name}.weight`), bias = this.get(`${name}.bias`), { channels } = this;
    return [0, 1, 2].map((dy) => {
      const at = (i, o) => ((o * channels + (i % channels)) * 3 + dy) * 3 + Math.floor(i / channels);
      return new Matrix(3 * channels, channels, (i, o) => weight[at(i, o)], (o) => (dy ? 0 : bias[o]));
    });
  }

  // Coefficients in units of the threshold of iteration `t`, of the levels after it: Float32Array (rows, columns,
  // 192).
  run(levels, rows, columns, t, tune, scale) {
    const { channels, head, own } = this;
    const table = this.get("embedding");
    const row = (table.length / 2 / channels) * tune + embedding(t, scale);
    const stem = this.matrix("stem", (o) => table[row * channels + o]);
    const hidden = new Float32Array(rows * columns * channels), result = new Float32Array(levels.length);
    const size = columns * COEFFICIENTS;
    const x = new Float32Array(2 * size), out = new Float32Array(columns * Math.max(COEFFICIENTS, stem.width));
    for (let y = 0; y < rows; y++) {
      for (let column = 0; column < columns; column++) {
        for (let k = 0; k < COEFFICIENTS; k++) {
          const level = levels[y * size + column * COEFFICIENTS + k], magnitude = MAGNITUDES[Math.abs(level)] / 16;
          x[2 * column * COEFFICIENTS + k] = magnitude * Math.sign(level);
          x[(2 * column + 1) * COEFFICIENTS + k] = magnitude;
        }
      }
      stem.multiply(x, 0, 2 * COEFFICIENTS, columns, out);
      for (let column = 0, at = y * columns * channels; column < columns; column++) {
        for (let k = 0; k < channels; k++, at++) hidden[at] = silu(out[column * stem.width + k]);
      }
    }
    for (const [wide, back] of this.layers) residual(hidden, rows, columns, channels, wide, silu, back, same);
    const line = new Float32Array(columns * channels);
    for (let y = 0; y < rows; y++) {
      line.set(hidden.subarray(y * line.length, (y + 1) * line.length));
      head.multiply(line, 0, channels, columns, out);
      for (let column = 0, at = y * size; column < columns; column++, at += COEFFICIENTS) {
        const added = out.subarray(column * COEFFICIENTS, (column + 1) * COEFFICIENTS);
        let most = 1;
        for (let k = 0; k < COEFFICIENTS; k++) {
          const level = levels[at + k];
          added[k] += (own[2 * k] + (own[2 * k + 1] * MAGNITUDES[Math.abs(level)]) / 16) * Math.sign(level);
          if (!this.given(k)) most = Math.max(most, Math.abs(added[k]) / (level ? 0.75 : 1.25));
        }
        for (let k = 0; k < COEFFICIENTS; k++) {
          const e = this.given(k) ? Math.min(Math.max(added[k] / most, -1.25), 1.25) : added[k] / most;
          result[at + k] = levels[at + k] + 0.5 * Math.sign(levels[at + k]) + e;
        }
      }
    }
    return result;
  }
}
