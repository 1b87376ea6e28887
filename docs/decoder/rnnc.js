// A decoder of `.rnnc` files with ternary codes, as ../format.md describes them.
//
//     const model = new Model(await readWeights(bytesOfSafetensors));
//     for await (const step of model.decode(bytesOfRnnc)) context2d.putImageData(step.image(), 0, 0) ...

import { BitstreamError, CUT, ITERATION, SCALES, SPLITS, focusFactors, parse } from "./container.js";
import { Context, ContextNetwork } from "./context.js";
import { readIteration } from "./codes.js";
import { SecondStage } from "./dc.js";
import { rgba, synthesis } from "./lapped.js";
import { PostFilter } from "./filter.js";
import { Refiner } from "./refiner.js";
import { placesOf, readSplits } from "./split.js";
import { BLOCK, COARSE, COEFFICIENTS, DC, DETAIL, coefficientWeight, threshold } from "./ternary.js";

export { BitstreamError, parse } from "./container.js";
export { readWeights } from "./weights.js";

export class Model {
  constructor({ digest, tensors }) {
    this.digest = digest;
    const two = tensors.has("context.coarse.stem.weight");
    this.network = new ContextNetwork(tensors, "context.", two ? DETAIL : BLOCK);
    this.coarse = two ? new ContextNetwork(tensors, "context.coarse.", COARSE) : null;
    this.size = tensors.has("context.place.table") ? 16 : 8;
    this.refiner = new Refiner(tensors);
    this.filter = tensors.has("filter.stem.weight") ? new PostFilter(tensors) : null;
    this.tuneWeights = tensors.get("tune_weights");
  }

  // After each iteration: {iteration, iterations, bytes, levels, draw}. `bytes` is the size of the file that ends
  // there, `levels` an Int16Array (rows, columns, 192), and `draw()` gives RGBA bytes. Throws `BitstreamError`.
  async *decode(bytes) {
    const { header, chunks } = parse(bytes);
    if (header.digest !== this.digest) {
      throw new BitstreamError(`the file was made by model ${header.digest}, these weights are ${this.digest}`);
    }
    const parts = this.size / 8; // Blocks of 8x8 a side of one of the transform.
    const [rows, columns] = [header.height, header.width].map((side) => parts * Math.ceil(side / this.size));
    const map = (wanted) => chunks.find(({ kind }) => kind === wanted)?.payload;
    const focus = map(SCALES) ? await focusFactors(map(SCALES), rows, columns, parts) : null;
    if (map(SPLITS) && parts === 1) throw new BitstreamError("the file has a map of split blocks, the model has not");
    const split = parts === 2 && readSplits(map(SPLITS), rows / 2, columns / 2);
    const places = split && placesOf(split, rows, columns);
    const context = new Context(this.network, { rows, columns, places, ...header });
    const second = this.coarse && new SecondStage(this.coarse, { rows, columns, ...header });
    const coded = chunks.filter(({ kind }) => kind === ITERATION || kind === CUT);
    for (const [index, chunk] of coded.entries()) {
      const t = context.iteration, before = context.levels;
      const sent = readIteration(context, second, chunk);
      const state = { t, before, levels: context.levels, sent, dc: second?.known(), rows, columns, split, places };
      const draw = () => this.draw(header, state, focus);
      yield { iteration: index + 1, iterations: coded.length, bytes: chunk.end, levels: context.levels, draw };
    }
  }

  draw({ width, height, tune, scale, grey }, state, focus) {
    const { t, rows, columns, split } = state;
    const coefficients = this.refined(state, tune, scale);
    const factors = Float64Array.from({ length: COEFFICIENTS }, (_, index) =>
      threshold(t) / (this.weight(tune, index) * 2 ** (scale / 256)),
    );
    for (let at = 0; at < coefficients.length; at++) {
      coefficients[at] *= factors[at % COEFFICIENTS] / (focus ? focus[Math.floor(at / COEFFICIENTS)] : 1);
    }
    const samples = synthesis(coefficients, rows, columns, grey, split);
    const step = threshold(t) / 2 ** (scale / 256);
    if (this.filter) this.filter.apply(samples, rows, columns, step, focus, { t, tune, scale });
    return rgba(samples, columns, width, height, grey && this.filter);
  }

  weight(tune, index) {
    return this.tuneWeights ? this.tuneWeights.data[tune * COEFFICIENTS + index] : coefficientWeight(tune, index);
  }

  // Coefficients in units of the threshold of iteration `t`; of a transform with two stages, what the network adds to
  // the middle of a DC coefficient's interval is added to what is known of it.
  refined(state, tune, scale) {
    const coefficients = this.fromLevels(state, tune, scale);
    state.dc?.forEach((value, at) => {
      const place = Math.floor(at / 3) * COEFFICIENTS + DC[at % 3], level = state.levels[place];
      coefficients[place] += value - level - 0.5 * Math.sign(level);
    });
    return coefficients;
  }

  // As the network finds them from the levels. Of an iteration that ended early: what it reached as if all the rest had
  // codes of 0, and the rest as it was before.
  fromLevels({ t, before, levels, sent, rows, columns, places }, tune, scale) {
    const known = this.refiner.coefficients(levels, rows, columns, { t, tune, scale, places });
    if (!sent) return known;
    const file = { t: t - 1, tune, scale, places };
    const earlier = t ? this.refiner.coefficients(before, rows, columns, file) : new Float32Array(known.length);
    return known.map((value, at) => (sent[at] ? value : 2 * earlier[at]));
  }
}
