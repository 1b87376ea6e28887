// `product` of matrix.js in WebAssembly with SIMD: four rows by eight outputs at a time. The module is put together
// here, instruction by instruction, so that there is nothing to build.

const I32 = 0x7f, V128 = 0x7b, EMPTY = 0x40;
const get = (local) => [0x20, local], set = (local) => [0x21, local];
const number = (value) => [0x41, value]; // From 0 to 63, as it is used here.
const ADD = [0x6a], MUL = [0x6c], LESS = [0x49];
const load = (offset) => [0xfd, 0, 2, offset], store = (offset) => [0xfd, 11, 2, offset], splat = [0xfd, 9, 2, 0];
const VADD = [0xfd, 0xe4, 1], VMUL = [0xfd, 0xe6, 1];
const advance = (local, by) => [...get(local), ...by, ...ADD, ...set(local)];
// Repeats `body` while local `at` is below `end`; at least once.
const loop = (body, at, end) => [0x03, EMPTY, ...body, ...get(at), ...end, ...LESS, 0x0d, 0, 0x0b];

// A section or a body: its length first.
function sized(bytes) {
  return [(bytes.length & 127) | 128, bytes.length >> 7, ...bytes];
}

// multiply(x, stride, rows, panels, inputs, out, width): addresses and sizes in bytes, but `rows`; `inputs` is the
// size of a panel. Adds to `out`.
function code() {
  const [X, STRIDE, ROWS, PANELS, INPUTS, OUT, WIDTH, ROW, COLUMN, END, PANEL, LINE, TO] = Array(13).keys();
  const A = [13, 14, 15, 16], O = [17, 18, 19, 20]; // Addresses in four rows of `x` and of `out`.
  const SUM = Array.from({ length: 8 }, (_, k) => 21 + k), W = [29, 30], S = 31;
  const four = (each) => [0, 1, 2, 3].flatMap(each);
  const inner = [
    ...[0, 1].flatMap((k) => [...get(PANEL), ...load(16 * k), ...set(W[k])]),
    ...four((r) => [
      ...[...get(A[r]), ...splat, ...set(S)],
      ...[0, 1].flatMap((k) => {
        const sum = SUM[2 * r + k];
        return [...get(sum), ...get(S), ...get(W[k]), ...VMUL, ...VADD, ...set(sum)];
      }),
      ...advance(A[r], number(4)),
    ]),
    ...advance(PANEL, number(32)),
  ];
  const each = (r, k, instruction) => [...get(O[r]), ...instruction(16 * k, SUM[2 * r + k])];
  const rows = [
    ...four((r) => [...get(r ? A[r - 1] : LINE), ...(r ? [...get(STRIDE), ...ADD] : []), ...set(A[r])]),
    ...four((r) => [...get(r ? O[r - 1] : TO), ...(r ? [...get(WIDTH), ...ADD] : []), ...set(O[r])]),
    ...four((r) => [0, 1].flatMap((k) => each(r, k, (offset, sum) => [...load(offset), ...set(sum)]))),
    ...[...get(PANELS), ...set(PANEL)],
    ...loop(inner, PANEL, get(END)),
    ...four((r) => [0, 1].flatMap((k) => each(r, k, (offset, sum) => [...get(sum), ...store(offset)]))),
    ...advance(LINE, [...get(STRIDE), ...number(4), ...MUL]),
    ...advance(TO, [...get(WIDTH), ...number(4), ...MUL]),
    ...advance(ROW, number(4)),
  ];
  const columns = [
    ...[...get(PANELS), ...get(INPUTS), ...ADD, ...set(END)],
    ...[...get(X), ...set(LINE), ...get(OUT), ...get(COLUMN), ...ADD, ...set(TO), ...number(0), ...set(ROW)],
    ...loop(rows, ROW, get(ROWS)),
    ...[...get(END), ...set(PANELS)],
    ...advance(COLUMN, number(32)),
  ];
  return [2, 14, I32, 11, V128, ...loop(columns, COLUMN, get(WIDTH)), 0x0b];
}

function assembled() {
  const name = (text) => [text.length, ...new TextEncoder().encode(text)];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, ...sized([1, 0x60, 7, ...Array(7).fill(I32), 0])], // one type: seven numbers, no result
    ...[3, ...sized([1, 0])], // one function of that type
    ...[5, ...sized([1, 0, 1])], // one memory
    ...[7, ...sized([2, ...name("memory"), 2, 0, ...name("multiply"), 0, 0])],
    ...[10, ...sized([1, ...sized(code())])],
  ]);
}

// As `plain` in matrix.js; null where there is no WebAssembly with SIMD.
export function simd() {
  let memory, multiply;
  try {
    ({ memory, multiply } = new WebAssembly.Instance(new WebAssembly.Module(assembled())).exports);
  } catch {
    return null;
  }
  return ({ panels, inputs, width }, x, at, stride, count, out) => {
    const rows = Math.ceil(count / 4) * 4; // Rows beyond the last are computed of whatever is there.
    const xAt = panels.length, outAt = xAt + (rows - 1) * stride + inputs;
    const missing = 4 * (outAt + rows * width) - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    const floats = new Float32Array(memory.buffer);
    floats.set(panels);
    floats.set(x.subarray(at, at + (count - 1) * stride + inputs), xAt);
    floats.set(out.subarray(0, count * width), outAt);
    multiply(4 * xAt, 4 * stride, rows, 0, 32 * inputs, 4 * outAt, 4 * width);
    out.set(floats.subarray(outAt, outAt + count * width));
  };
}
