// Which blocks of 16x16 are split into four. See "Container" and "Range coder" in ../format.md.

import { BitstreamError } from "./container.js";
import { RangeDecoder } from "./range.js";

// Of each block of 16x16 whether it is split: a Uint8Array of `rows * columns`. Without a payload none is.
export function readSplits(payload, rows, columns) {
  const split = new Uint8Array(rows * columns);
  if (!payload) return split;
  const decoder = new RangeDecoder(payload);
  const counts = Array.from({ length: 8 }, () => [3, 1]); // Of blocks that were whole, and split.
  const at = (row, column) => (row < 0 || column < 0 || column >= columns ? 0 : split[row * columns + column]);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const seen = counts[at(row, column - 1) + 2 * at(row - 1, column) + 4 * at(row - 1, column + 1)];
      const decided = decoder.decide(Math.floor((65536 * seen[1]) / (seen[0] + seen[1])));
      if (decided === undefined) throw new BitstreamError("the map of split blocks is not a range coder's output");
      split[row * columns + column] = decided;
      seen[decided]++;
      if (seen[0] + seen[1] === 1024) for (const kind of [0, 1]) seen[kind] = Math.ceil(seen[kind] / 2);
    }
  }
  if (!decoder.exhausted) throw new BitstreamError("the map of split blocks goes on after its last block");
  return split;
}

// Which vector of `place.table` is added to each block of 8x8: a Uint8Array of `rows * columns`.
export function placesOf(split, rows, columns) {
  return Uint8Array.from({ length: rows * columns }, (_, block) => {
    const y = Math.floor(block / columns), x = block % columns;
    return 4 * split[(y >> 1) * (columns / 2) + (x >> 1)] + 2 * (y % 2) + (x % 2);
  });
}
