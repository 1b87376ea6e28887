// From coefficients to samples: inverse DCT, butterflies across the borders of blocks, colours. See "Picture" in
// ../format.md.

import { COEFFICIENTS } from "./ternary.js";

export const dct2 = (n) =>
  matrix(n, (u, x) => Math.cos((Math.PI / n) * u * (x + 0.5)) * Math.sqrt((u ? 2 : 1) / n));
const dct4 = (n) => matrix(n, (u, x) => Math.cos((Math.PI / n) * (u + 0.5) * (x + 0.5)) * Math.sqrt(2 / n));

// By the side of a block.
const DCT = { 8: dct2(8), 16: dct2(16) };
const BUTTERFLY = butterfly(8);

function matrix(n, value) {
  return Array.from({ length: n }, (_, row) => Float64Array.from({ length: n }, (_, column) => value(row, column)));
}

function product(a, b) {
  return matrix(a.length, (row, column) => b.reduce((sum, line, k) => sum + a[row][k] * line[column], 0));
}

// The orthonormal filter of the `size` samples around a border of two blocks.
export function butterfly(size) {
  const half = size / 2;
  const flip = matrix(half, (row, column) => (row + column === half - 1 ? 1 : 0));
  const dct2T = matrix(half, (row, column) => dct2(half)[column][row]);
  const turn = product(product(flip, dct2T), product(dct4(half), flip));
  const same = (row, column) => (row === column ? 1 : 0);
  const middle = matrix(size, (row, column) =>
    Math.min(row, column) < half ? same(row, column) : turn[row - half][column - half],
  );
  const mix = matrix(size, (row, column) => {
    if (row === column) return row < half ? Math.SQRT1_2 : -Math.SQRT1_2;
    return row + column === size - 1 ? Math.SQRT1_2 : 0;
  });
  return product(product(mix, middle), mix);
}

// RGB on the 0..255 scale, neither rounded nor clipped, Float32Array `(8 rows, 8 columns, 3)`, of coefficients `(rows,
// columns, 192)`; grey draws luma alone. `split`: of each block of 16x16, where the transform has such.
export function synthesis(coefficients, rows, columns, grey, split) {
  const planes = [0, 1, 2].slice(0, grey ? 1 : 3).map((plane) => samples(coefficients, rows, columns, plane, split));
  const out = new Float32Array(3 * planes[0].length);
  for (let at = 0, to = 0; at < planes[0].length; at++, to += 3) {
    const luma = planes[0][at] + 127.5;
    const [blue, red] = grey ? [0, 0] : [planes[1][at], planes[2][at]];
    out[to] = luma + 1.401999588657340 * red;
    out[to + 1] = luma - 0.344135678165337 * blue - 0.714136155581812 * red;
    out[to + 2] = luma + 1.772000066073816 * blue;
  }
  return out;
}

// The bytes of the first rows and columns of such samples, `(height, width, 4)`; `mixed` draws their luma alone.
export function rgba(samples, columns, width, height, mixed) {
  const pixels = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, at = 24 * columns * y; x < width; x++, at += 3, to += 4) {
      const [red, green, blue] = [samples[at], samples[at + 1], samples[at + 2]];
      const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
      pixels[to] = mixed ? luma : red; // Uint8ClampedArray rounds and clips.
      pixels[to + 1] = mixed ? luma : green;
      pixels[to + 2] = mixed ? luma : blue;
    }
  }
  return pixels;
}

// One plane of YCbCr, `(8 rows, 8 columns)`.
function samples(coefficients, rows, columns, plane, split) {
  const stride = 8 * columns, size = split ? 16 : 8, parts = size / 8;
  const out = new Float32Array(64 * rows * columns);
  for (let top = 0; top < rows; top += parts) {
    for (let left = 0; left < columns; left += parts) {
      const grid = { coefficients: coefficients.subarray(64 * plane), columns, top, left, out, stride };
      if (split?.[(top / 2) * (columns / 2) + left / 2]) quarters(grid);
      else inverse(grid, size);
    }
  }
  const first = size - 4;
  for (let y = first; y + 8 < 8 * rows; y += size) {
    for (let x = 0; x < stride; x++) cross(out, y * stride + x, stride);
  }
  for (let y = 0; y < 8 * rows; y++) for (let x = first; x + 8 < stride; x += size) cross(out, y * stride + x, 1);
  return out;
}

// The samples of a block with sides of `size` whose first block of 8x8 is in row `top` and column `left`.
function inverse({ coefficients, columns, top, left, out, stride }, size) {
  const parts = size / 8, dct = DCT[size];
  for (let u = 0; u < size; u++) {
    for (let v = 0; v < size; v++) {
      const at = (top + (u % parts)) * columns + left + (v % parts);
      const place = 8 * Math.floor(u / parts) + Math.floor(v / parts);
      WHOLE[size * u + v] = coefficients[COEFFICIENTS * at + place];
    }
  }
  if (parts === 2) hadamard(WHOLE, [0, 1, size, size + 1]);
  for (let x = 0; x < size; x++) {
    for (let u = 0; u < size; u++) {
      let sum = 0;
      for (let v = 0; v < size; v++) sum += dct[v][x] * WHOLE[size * u + v];
      HALF[size * u + x] = sum;
    }
    for (let y = 0; y < size; y++) {
      let sum = 0;
      for (let u = 0; u < size; u++) sum += dct[u][y] * HALF[size * u + x];
      out[(8 * top + y) * stride + 8 * left + x] = sum;
    }
  }
}

// Those of a split one.
function quarters(grid) {
  const { top, left, out, stride } = grid;
  for (const row of [0, 1]) for (const column of [0, 1]) inverse({ ...grid, top: top + row, left: left + column }, 8);
  for (let k = 0; k < 16; k++) cross(out, (8 * top + 4) * stride + 8 * left + k, stride);
  for (let k = 0; k < 16; k++) cross(out, (8 * top + k) * stride + 8 * left + 4, 1);
}

// Of four values: sums of all, and differences across, down and both.
function hadamard(values, at) {
  const [a, b, c, d] = at.map((index) => values[index] / 2);
  [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d].forEach((sum, k) => (values[at[k]] = sum));
}

const SIDE = new Float64Array(8), WHOLE = new Float64Array(256), HALF = new Float64Array(256);

// The transposed butterfly, in place, of eight samples that lie `step` apart.
function cross(values, at, step) {
  for (let k = 0; k < 8; k++) SIDE[k] = values[at + k * step];
  for (let k = 0; k < 8; k++) {
    let sum = 0;
    for (let j = 0; j < 8; j++) sum += BUTTERFLY[j][k] * SIDE[j];
    values[at + k * step] = sum;
  }
}
