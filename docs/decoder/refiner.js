// The decoder's network: from levels to the coefficients that they most probably are. See "Decoder" in ../format.md.

import { ResidualNetwork } from "./residual.js";
import { COEFFICIENTS, MAGNITUDES } from "./ternary.js";

export class Refiner extends ResidualNetwork {
  constructor(tensors) {
    super(tensors, "refiner.");
    this.own = this.get("own.weight");
    const two = tensors.has("context.coarse.stem.weight");
    this.given = (k) => two && k % 64 === 0;
  }

  // Coefficients in units of the threshold of iteration `t`, of the levels after it: Float32Array (rows, columns,
  // 192).
  coefficients(levels, rows, columns, file) {
    const { own } = this;
    const size = columns * COEFFICIENTS, result = new Float32Array(levels.length);
    const see = (y, x) => {
      for (let column = 0; column < columns; column++) {
        for (let k = 0; k < COEFFICIENTS; k++) {
          const level = levels[y * size + column * COEFFICIENTS + k], magnitude = MAGNITUDES[Math.abs(level)] / 16;
          x[2 * column * COEFFICIENTS + k] = magnitude * Math.sign(level);
          x[(2 * column + 1) * COEFFICIENTS + k] = magnitude;
        }
      }
    };
    this.run(rows, columns, file, see, (y, out) => {
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
    });
    return result;
  }
}
