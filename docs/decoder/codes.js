// The codes of an iteration from its payload. See "Payload of an iteration" in ../format.md.

import { BitstreamError, CUT } from "./container.js";
import { round } from "./context.js";
import { RangeDecoder } from "./range.js";
import { ITERATIONS, PASSES, SEGMENT } from "./ternary.js";

const level = (x) => Math.min(Math.max(round(x), -16384), 16384);

// Reads the next iteration into `context`, and before it into `second`, of a transform with two stages. Gives null, or
// for one that ends early which coefficients it reached, a Uint8Array like the levels. Throws `BitstreamError`.
export function readIteration(context, second, { kind, payload }) {
  const { groups, coefficients } = context;
  const end = kind === CUT ? endOf(payload, context.rows) : null;
  const body = end ? payload.subarray(5) : payload;
  if (body.length < 3) throw new BitstreamError("an iteration is shorter than its list of active coefficients");
  const active = [...body.subarray(0, 3)];
  if (active.some((count, group) => count > groups[group].length)) {
    throw new BitstreamError(`an iteration claims ${active.join(", ")} active coefficients`);
  }
  if (context.iteration >= ITERATIONS) throw new BitstreamError(`the file goes on after iteration ${ITERATIONS}`);
  const decoder = new RangeDecoder(body.subarray(3));
  if (second) {
    second.read(context.iteration, (...part) => readSegment(decoder, ...part));
    context.give(Int16Array.from(second.known(), level));
  }
  context.begin(active);
  const sent = end && new Uint8Array(context.levels.length);
  let segment = 0;
  for (let pass = 0; pass < PASSES.length; pass++) {
    const [group, parity] = PASSES[pass];
    const count = active[group];
    if (!count) continue;
    const blocks = context.blocks[parity];
    const probabilities = context.probabilities(pass);
    const codes = new Int8Array(blocks.length * count);
    for (let from = 0; from < count; from += SEGMENT, segment++) {
      const to = Math.min(from + SEGMENT, count);
      const reached = end ? end.blocks(segment, blocks, context.columns) : blocks.length;
      const part = {
        blocks: blocks.slice(0, reached), coefficients: groups[group], from, to, count, width: coefficients,
      };
      readSegment(decoder, context.levels, part, probabilities, codes);
      for (let place = 0; end && place < reached; place++) {
        for (let k = from; k < to; k++) sent[blocks[place] * coefficients + groups[group][k]] = 1;
      }
    }
    context.put(pass, codes);
    if (end && segment >= end.count) break;
  }
  if (end && segment < end.count) {
    throw new BitstreamError(`an iteration claims ${end.segments} segments and ${end.rows} rows, there are ${segment}`);
  }
  if (second || active.some(Boolean) ? !decoder.exhausted : body.length > 3) {
    throw new BitstreamError("a payload goes on after its last code");
  }
  for (let at = 0; sent && at < sent.length; at += coefficients) for (const index of context.given) sent[at + index] = 1;
  context.end();
  return sent;
}

// Where an iteration ends early: after `segments` segments, and the blocks in the first `rows` rows of one more.
function endOf(payload, height) {
  if (payload.length < 5) throw new BitstreamError("an iteration that ends early does not say where");
  const view = new DataView(payload.buffer, payload.byteOffset);
  const segments = view.getUint8(0), rows = view.getUint32(1, true);
  if ((!segments && !rows) || rows >= height) {
    throw new BitstreamError(`an iteration claims to end after ${segments} segments and ${rows} rows`);
  }
  const blocks = (segment, all, columns) => {
    if (segment === segments) return all.filter((block) => block < rows * columns).length;
    return segment < segments ? all.length : 0;
  };
  return { segments, rows, count: segments + (rows ? 1 : 0), blocks };
}

// Some blocks' coefficients `from` to `to` of a group: first which codes are not 0, then the signs that no level
// tells.
function readSegment(decoder, levels, { blocks, coefficients, from, to, count, width }, { some, positive }, codes) {
  const decide = (probability) => {
    const bit = decoder.decide(probability);
    if (bit === undefined) throw new BitstreamError("a payload is not a range coder's output");
    return bit;
  };
  for (let place = 0; place < blocks.length; place++) {
    for (let k = from; k < to; k++) codes[place * count + k] = decide(some[place * count + k]);
  }
  for (let place = 0; place < blocks.length; place++) {
    for (let k = from; k < to; k++) {
      const at = place * count + k;
      if (!codes[at]) continue;
      const level = levels[blocks[place] * width + coefficients[k]];
      codes[at] = level ? Math.sign(level) : 2 * decide(positive[at]) - 1;
    }
  }
}
