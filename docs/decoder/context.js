// The entropy model: integers, so that every machine finds the same probabilities. See "Entropy model" in
// ../format.md.

import { Matrix, residual } from "./matrix.js";
import { MAGNITUDES, PASSES, embedding } from "./ternary.js";

const ROUND = 1.5 * 2 ** 52; // Adding and subtracting it rounds to whole numbers, halves to even ones.
export const round = (x) => x + ROUND - ROUND;
const relu = (x) => Math.min(Math.max(round(x), 0), 127);
const clip = (x) => Math.min(Math.max(round(x), -127), 127);

export class ContextNetwork {
  // Of the tensors that begin with `prefix`, for the codes of `bands`.
  constructor(tensors, prefix, bands) {
    this.bands = bands;
    this.get = (name) => tensors.get(`${prefix}${name}`).data;
    this.channels = tensors.get(`${prefix}stem.weight`).shape[2];
    // What is added in each of the four places of a block in one of 16x16, whole or split.
    if (tensors.has(`${prefix}place.table`)) {
      const exponent = this.get("stem.exponent");
      this.place = Float64Array.from(this.get("place.table"), (x, k) => x / 2 ** exponent[k % this.channels]);
    }
    const isWide = (name) => name.startsWith(`${prefix}wide.`) && name.endsWith(".weight");
    const blocks = [...tensors.keys()].filter(isWide).length;
    const pairs = (count, wide, back) =>
      Array.from({ length: count }, (_, k) => [this.convolution(`${wide}.${k}`), this.matrix(`${back}.${k}`)]);
    this.trunk = pairs(blocks, "wide", "back");
    this.updates = pairs(PASSES.length - 1, "mix", "merge");
  }

  // A layer with a kernel of one position, or those `inputs` and `outputs` of it.
  matrix(name, inputs, outputs, extra = () => 0) {
    const [weight, exponent, bias] = ["weight", "exponent", "bias"].map((part) => this.get(`${name}.${part}`));
    const width = exponent.length;
    inputs ??= Array.from({ length: weight.length / width }, (_, k) => k);
    outputs ??= Array.from({ length: width }, (_, k) => k);
    return new Matrix(
      inputs.length,
      outputs.length,
      (input, output) => weight[inputs[input] * width + outputs[output]] / 2 ** exponent[outputs[output]],
      (output) => (bias[outputs[output]] + extra(outputs[output])) / 2 ** exponent[outputs[output]],
    );
  }

  // The three rows of a 3x3 kernel.
  convolution(name) {
    const size = 3 * this.channels;
    return [0, 1, 2].map((dy) => {
      const inputs = Array.from({ length: size }, (_, k) => dy * size + k);
      const matrix = this.matrix(name, inputs);
      if (dy) matrix.bias.fill(0);
      return matrix;
    });
  }
}

// What is known of one picture while its codes are read. For each iteration: `begin`, for each pass `probabilities`
// and `put`, then `end`; before it `give`, where some coefficients are given.
export class Context {
  // `places`: of each block in one of 16x16, see `placesOf`.
  constructor(network, { rows, columns, tune, scale, first, places }) {
    Object.assign(this, { network, rows, columns, tune, scale, iteration: first, places });
    Object.assign(this, network.bands);
    this.levels = new Int16Array(rows * columns * this.coefficients);
    this.codes = new Int8Array(this.levels.length);
    this.hidden = new Int8Array(rows * columns * network.channels);
    this.known = [0, 0, 0];
    // The blocks of each parity, in raster order.
    this.blocks = [[], []];
    for (let block = 0; block < rows * columns; block++) {
      this.blocks[(Math.floor(block / columns) + (block % columns)) % 2].push(block);
    }
  }

  // Set the levels of given coefficients, those after the iteration, (rows, columns, given).
  give(levels) {
    this.levels = this.levels.slice(); // Those of the iteration before stay as they were.
    this.givenLevels = levels;
    levels.forEach((level, at) => {
      const { length } = this.given;
      this.levels[Math.floor(at / length) * this.coefficients + this.given[at % length]] = level;
    });
  }

  // Start an iteration in which only the first `active` coefficients of each group can have codes that are not 0.
  begin(active) {
    this.active = active;
    this.known = this.known.map((count, group) => Math.max(count, active[group]));
    this.codes.fill(0);
    if (active.some(Boolean)) this.stem();
  }

  stem() {
    const { network, rows, columns, levels, hidden, coefficients } = this;
    const { channels } = network;
    const sent = this.groups.flatMap((group, index) => group.slice(0, this.known[index]));
    const chosen = [...this.given, ...sent];
    const table = network.get("embedding"), place = network.place;
    const row = (table.length / 2 / channels) * this.tune + embedding(this.iteration, this.scale);
    const inputs = [...chosen, ...chosen.map((index) => coefficients + index)];
    const matrix = network.matrix("stem", inputs, undefined, (k) => table[row * channels + k]);
    const x = new Float32Array(columns * inputs.length), out = new Float32Array(columns * matrix.width);
    for (let y = 0; y < rows; y++) {
      for (let column = 0, at = 0; column < columns; column++, at += inputs.length) {
        const block = (y * columns + column) * coefficients;
        for (let k = 0; k < chosen.length; k++) {
          const level = levels[block + chosen[k]];
          const size = MAGNITUDES[Math.abs(level)];
          x[at + k] = size * Math.sign(level);
          x[at + chosen.length + k] = size;
        }
      }
      matrix.multiply(x, 0, inputs.length, columns, out);
      for (let column = 0, at = y * columns * channels; column < columns; column++) {
        const from = place && channels * this.places[y * columns + column];
        for (let k = 0; k < channels; k++, at++) {
          hidden[at] = relu(out[column * matrix.width + k] + (place ? place[from + k] : 0));
        }
      }
    }
    for (const [wide, back] of network.trunk) this.residual(wide, back);
  }

  residual(wide, back) {
    residual(this.hidden, this.rows, this.columns, this.network.channels, wide, relu, back, clip);
  }

  // The product of `matrix` with inputs that `gather(block, x, at)` writes, for each block of a pass:
  // `use(block, place of the block in the pass, numbers, where they begin)`.
  each(blocks, matrix, gather, use) {
    const BAND = 64;
    const x = new Float32Array(BAND * matrix.inputs), out = new Float32Array(BAND * matrix.width);
    for (let start = 0; start < blocks.length; start += BAND) {
      const count = Math.min(BAND, blocks.length - start);
      for (let k = 0; k < count; k++) gather(blocks[start + k], x, k * matrix.inputs, start + k);
      matrix.multiply(x, 0, matrix.inputs, count, out);
      for (let k = 0; k < count; k++) use(blocks[start + k], start + k, out, k * matrix.width);
    }
  }

  // Of the active coefficients of each block of a pass, in 65536ths: that the code is not 0 (`some`), and that one
  // that is not is positive (`positive`).
  probabilities(pass) {
    const { network, levels, hidden, coefficients, groups } = this;
    const { channels } = network;
    const [group, parity] = PASSES[pass];
    const count = this.active[group], size = groups[group].length;
    const blocks = this.blocks[parity];
    const some = new Int32Array(blocks.length * count), positive = new Int32Array(blocks.length * count);
    const outputs = Array.from({ length: 2 * count }, (_, k) => (k < count ? k : size + k - count));
    const matrix = network.matrix(`head.${pass}`, undefined, outputs);
    const [table, weight, exponent] = ["probability", "own.weight", "own.exponent"].map(network.get);
    // What a coefficient's own level says, in steps of logits.
    const own = (index, which, level) => {
      if (!level) return 0;
      const at = 6 * index + 3 * which, magnitude = MAGNITUDES[Math.abs(level)];
      const sum = magnitude * (Math.sign(level) * weight[at] + weight[at + 1]) + 16 * weight[at + 2];
      return round((2 * sum) / 2 ** exponent[2 * index + which]);
    };
    const look = (steps) => table[Math.min(Math.max(steps + 512, 0), 1023)];
    const gather = (block, x, at) => {
      for (let k = 0; k < channels; k++) x[at + k] = hidden[block * channels + k];
    };
    this.each(blocks, matrix, gather, (block, place, out, at) => {
      for (let k = 0; k < count; k++) {
        const index = groups[group][k], level = levels[block * coefficients + index];
        some[place * count + k] = look(round(2 * out[at + k]) + own(index, 0, level));
        positive[place * count + k] = look(round(2 * out[at + count + k]) + own(index, 1, level));
      }
    });
    return { some, positive };
  }

  // Make the codes (blocks, active) of a pass known.
  put(pass, codes) {
    const [group, parity] = PASSES[pass];
    const { network, hidden, coefficients, groups } = this;
    const count = this.active[group], size = groups[group].length;
    const { channels } = network;
    this.blocks[parity].forEach((block, place) => {
      for (let k = 0; k < count; k++) this.codes[block * coefficients + groups[group][k]] = codes[place * count + k];
    });
    if (!PASSES.slice(pass + 1).some(([later]) => this.active[later])) return;
    const inputs = Array.from({ length: 2 * count }, (_, k) => (k < count ? k : size + k - count));
    const matrix = network.matrix(`seen.${pass}`, inputs);
    matrix.bias.fill(0); // Unused by the format.
    const gather = (_, x, at, place) => {
      for (let k = 0; k < count; k++) {
        x[at + k] = 16 * codes[place * count + k];
        x[at + count + k] = Math.abs(x[at + k]);
      }
    };
    this.each(this.blocks[parity], matrix, gather, (block, _, out, at) => {
      for (let k = 0; k < channels; k++) {
        hidden[block * channels + k] = clip(hidden[block * channels + k] + out[at + k]);
      }
    });
    this.residual(...network.updates[pass]);
  }

  end() {
    this.levels = this.levels.map((level, index) => 2 * level + this.codes[index]);
    this.iteration++;
    if (this.given.length) this.give(this.givenLevels);
  }
}
