// The filter of decoded pictures: a network over cells of 2x2 pixels. See "Filter" in ../format.md.

import { ResidualNetwork } from "./residual.js";

const SIDE = 2, FINE = 0.1, LIMIT = 0.5;
const REACHES = [1, 2, 4, 8, 4, 2];

export class PostFilter extends ResidualNetwork {
  constructor(tensors) {
    super(tensors, "filter.", (k) => REACHES[k % REACHES.length]);
  }

  // Filters samples (8 rows, 8 columns, 3), in place. `step`: the threshold before coefficients were weighted; `focus`:
  // by what those of each block were multiplied, or null.
  apply(samples, blockRows, blockColumns, step, focus, file) {
    const rows = (8 / SIDE) * blockRows, columns = (8 / SIDE) * blockColumns, width = 3 * SIDE * columns;
    const at = (y, x, colour, k) => (SIDE * y + (k >> 1)) * width + (SIDE * x + (k & 1)) * 3 + colour;
    const block = (y, x) => Math.floor((y * SIDE) / 8) * blockColumns + Math.floor((x * SIDE) / 8);
    const stepOf = (y, x) => step / (focus ? focus[block(y, x)] : 1);
    const means = new Float32Array(3 * rows * columns);
    for (let y = 0, to = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++) {
        for (let colour = 0; colour < 3; colour++, to++) {
          for (let k = 0; k < SIDE * SIDE; k++) means[to] += samples[at(y, x, colour, k)] / (SIDE * SIDE);
        }
      }
    }
    const near = around(means, rows, columns);
    const see = (y, seen) => {
      for (let x = 0, to = 0; x < columns; x++) {
        const scale = FINE * stepOf(y, x), from = 3 * (y * columns + x);
        for (let colour = 0; colour < 3; colour++) {
          for (let k = 0; k < SIDE * SIDE; k++) {
            seen[to++] = Math.asinh((samples[at(y, x, colour, k)] - near[from + colour]) / scale);
          }
        }
      }
    };
    this.run(rows, columns, file, see, (y, out) => {
      for (let x = 0; x < columns; x++) {
        for (let colour = 0, from = x * this.head.width; colour < 3; colour++) {
          for (let k = 0; k < SIDE * SIDE; k++, from++) {
            const added = Math.min(Math.max(FINE * out[from], -LIMIT), LIMIT);
            samples[at(y, x, colour, k)] += added * stepOf(y, x);
          }
        }
      }
    });
  }
}

// Means of each position and its neighbours in the picture, `(rows, columns, 3)`.
function around(means, rows, columns) {
  const across = new Float32Array(means.length), out = new Float32Array(means.length);
  const within = (position, size) => [Math.max(position - 1, 0), Math.min(position + 1, size - 1)];
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const [first, last] = within(x, columns);
      for (let colour = 0; colour < 3; colour++) {
        let sum = 0;
        for (let k = first; k <= last; k++) sum += means[3 * (y * columns + k) + colour];
        across[3 * (y * columns + x) + colour] = sum / (last - first + 1);
      }
    }
  }
  for (let y = 0; y < rows; y++) {
    const [first, last] = within(y, rows);
    for (let at = 3 * y * columns; at < 3 * (y + 1) * columns; at++) {
      let sum = 0;
      for (let k = first; k <= last; k++) sum += across[at + 3 * (k - y) * columns];
      out[at] = sum / (last - first + 1);
    }
  }
  return out;
}
