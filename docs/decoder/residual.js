// The shape of both networks that draw: residual 3x3 layers between two 1x1 layers. See "Decoder" in ../format.md.

import { Matrix, residual } from "./matrix.js";
import { embedding } from "./ternary.js";

const silu = (x) => x / (1 + Math.exp(-x));
const same = (x) => x;

export class ResidualNetwork {
  // `reach(k)`: how many positions further residual block k sees.
  constructor(tensors, prefix, reach = () => 1) {
    this.get = (name) => tensors.get(prefix + name).data;
    this.channels = this.get("stem.bias").length;
    const blocks = [...tensors.keys()].filter((name) => name.startsWith(`${prefix}wide.`)).length / 2;
    this.layers = Array.from({ length: blocks }, (_, k) => ({
      wide: this.convolution(`wide.${k}`),
      back: this.matrix(`back.${k}`),
      reach: reach(k),
    }));
    this.head = this.matrix("head");
    this.place = tensors.get(`${prefix}place.table`)?.data;
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

  // What the last layer gives, a row at a time: `show(y, out)` with `head.width` numbers for each position, after
  // iteration `t` of a file with this tune and scale; `places`: see `placesOf`. `see(y, x)` writes what the first layer
  // sees of a row.
  run(rows, columns, { t, tune, scale, places }, see, show) {
    const { channels, head } = this;
    const table = this.get("embedding");
    const row = (table.length / 2 / channels) * tune + embedding(t, scale);
    const stem = this.matrix("stem", (o) => table[row * channels + o]);
    const hidden = new Float32Array(rows * columns * channels), line = new Float32Array(columns * channels);
    const x = new Float32Array(columns * stem.inputs), out = new Float32Array(columns * Math.max(head.width, stem.width));
    for (let y = 0; y < rows; y++) {
      see(y, x);
      stem.multiply(x, 0, stem.inputs, columns, out);
      for (let column = 0, at = y * line.length; column < columns; column++) {
        const from = this.place && channels * places[y * columns + column];
        for (let k = 0; k < channels; k++, at++) {
          hidden[at] = silu(out[column * stem.width + k] + (this.place ? this.place[from + k] : 0));
        }
      }
    }
    for (const { wide, back, reach } of this.layers) {
      residual(hidden, rows, columns, channels, wide, silu, back, same, reach);
    }
    for (let y = 0; y < rows; y++) {
      line.set(hidden.subarray(y * line.length, (y + 1) * line.length));
      head.multiply(line, 0, channels, columns, out);
      show(y, out);
    }
  }
}
