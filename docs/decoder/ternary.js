// What encoder and decoder agree on about ternary codes. See "Ternary codes" in ../format.md.

export const COEFFICIENTS = 192, ITERATIONS = 11, SEGMENT = 2;

// Codes of the second stage begin so many iterations earlier.
export const EXTRA = 2;

// A block's DC coefficients.
export const DC = [0, 64, 128];

// The places of a plane of `side` x `side` by u + v, those of one diagonal by u.
function order(side) {
  const sum = (place) => Math.floor(place / side) + (place % side);
  return Array.from({ length: side * side }, (_, place) => place).sort((a, b) => sum(a) - sum(b) || a - b);
}

// Luma's lowest, the rest of luma, and chroma, in which Cb and Cr take turns.
function groups(side, lowest) {
  const places = order(side), plane = side * side;
  const chroma = places.flatMap((place) => [plane + place, 2 * plane + place]);
  return [places.slice(0, lowest), places.slice(lowest), chroma];
}

// What is sent of a block, of a transform with one stage or with two (`given` coefficients are known from the second),
// and what is sent of a block of blocks.
export const BLOCK = { coefficients: COEFFICIENTS, groups: groups(8, 10), given: [] };
export const DETAIL = {
  coefficients: COEFFICIENTS,
  groups: BLOCK.groups.map((group) => group.filter((index) => !DC.includes(index))),
  given: DC,
};
export const COARSE = { coefficients: 48, groups: groups(4, 4), given: [] };

// Group and parity of the blocks.
export const PASSES = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]];

export const threshold = (t) => 2048 / 2 ** t;

export const embedding = (t, scale) => 4 * t + (scale >> 6);

// What networks see of a level's size: 8 log2(1 + size), between powers of two linear.
export const MAGNITUDES = Uint8Array.from({ length: 16385 }, (_, index) => {
  const octave = 31 - Math.clz32(index + 1);
  return 8 * octave + Math.floor((8 * (index + 1)) / 2 ** octave) - 8;
});

const JPEG_LUMINANCE = [
  ...[16, 11, 10, 16, 24, 40, 51, 61],
  ...[12, 12, 14, 19, 26, 58, 60, 55],
  ...[14, 13, 16, 24, 40, 57, 69, 56],
  ...[14, 17, 22, 29, 51, 87, 80, 62],
  ...[18, 22, 37, 56, 68, 109, 103, 77],
  ...[24, 35, 55, 64, 81, 104, 113, 92],
  ...[49, 64, 78, 87, 103, 121, 120, 101],
  ...[72, 92, 95, 98, 112, 100, 103, 99],
];

// By what coefficient `index` was multiplied before coding, with tune 0 (psnr) or 1 (visual), where the model does not
// say it.
export function coefficientWeight(tune, index) {
  const plane = index >> 6, place = index & 63;
  if (tune === 0) return [1.732, 1.805, 1.573][plane];
  const luma = (1.732 * 16) / JPEG_LUMINANCE[place];
  return plane === 0 ? luma : luma * ((place >> 3) + (place & 7) > 3 ? 0.375 : 0.75);
}
