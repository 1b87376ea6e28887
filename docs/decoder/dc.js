// The second stage of the transform: DC coefficients of 4x4 blocks, and their codes. See "Second stage" in ../format.md.

import { Context, round } from "./context.js";
import { butterfly, dct2 } from "./lapped.js";
import { EXTRA, PASSES } from "./ternary.js";

const onGrid = (x, grid) => round(x * grid) / grid;
const transposed = (matrix) =>
  matrix.map((_, row) => Float64Array.from(matrix, (line) => onGrid(line[row], 2 ** 16)));
const DCT = transposed(dct2(4)), BUTTERFLY = transposed(butterfly(4));

// The codes of the second stage of one picture of `rows` x `columns` blocks.
export class SecondStage {
  constructor(network, { rows, columns, tune, scale }) {
    Object.assign(this, { rows, columns });
    const size = { rows: Math.ceil(rows / 4), columns: Math.ceil(columns / 4) };
    this.context = new Context(network, { ...size, tune, scale, first: 0 });
  }

  // Reads the codes of iteration `t`, and of all before it that were not sent. `read(levels, part, probabilities,
  // codes)` reads some blocks' coefficients.
  read(t, read) {
    const { context } = this;
    while (context.iteration <= t + EXTRA) {
      context.begin(context.groups.map((group) => group.length));
      PASSES.forEach(([group, parity], pass) => {
        const blocks = context.blocks[parity], coefficients = context.groups[group], count = coefficients.length;
        const codes = new Int8Array(blocks.length * count);
        const part = { blocks, coefficients, from: 0, to: count, count, width: context.coefficients };
        read(context.levels, part, context.probabilities(pass), codes);
        context.put(pass, codes);
      });
      context.end();
    }
  }

  // DC coefficients (rows, columns, 3) in thresholds of the last iteration. Exact: all sums are of whole multiples of a
  // power of two that 64-bit floats hold.
  known() {
    const { rows, columns, levels } = this.context, width = 4 * columns;
    const out = new Float64Array(this.rows * this.columns * 3);
    for (let plane = 0; plane < 3; plane++) {
      const x = new Float64Array(16 * rows * columns);
      for (let at = 0; at < x.length; at++) {
        const y = Math.floor(at / width), column = at % width;
        const block = (y >> 2) * columns + (column >> 2);
        const level = levels[48 * block + 16 * plane + 4 * (y & 3) + (column & 3)];
        x[at] = level + 0.5 * Math.sign(level);
      }
      for (const [step, across, length] of [[width, 1, 4 * rows], [1, width, width]]) {
        for (let line = 0; line < x.length / length; line++) {
          for (const [matrix, first] of [[DCT, 0], [BUTTERFLY, 2]]) {
            for (let k = first; k + 4 <= length; k += 4) turn(matrix, x, line * across + k * step, step);
          }
        }
      }
      for (let y = 0, at = plane; y < this.rows; y++) {
        for (let column = 0; column < this.columns; column++, at += 3) out[at] = x[y * width + column];
      }
    }
    return out;
  }
}

const PART = new Float64Array(4);

// Replaces four values that lie `step` apart by a matrix times them, rounded to whole multiples of 2**-12.
function turn(matrix, x, at, step) {
  for (let k = 0; k < 4; k++) PART[k] = x[at + k * step];
  matrix.forEach((row, k) => {
    x[at + k * step] = onGrid(row[0] * PART[0] + row[1] * PART[1] + row[2] * PART[2] + row[3] * PART[3], 2 ** 12);
  });
}
