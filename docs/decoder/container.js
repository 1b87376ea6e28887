// The container: header and chunks, checked. See "Container" in ../format.md.

export const ITERATION = 0, CUT = 2, METADATA = 3, SCALES = 4, SPLITS = 5;
const TERNARY = 2;
const MAX_CHUNKS = 258;
const LARGEST_PICTURE = 2 ** 27; // Pixels; what bounds the memory that a header can ask for.

// A file that cannot be decoded as it is. The message is one line and says what is wrong with it.
export class BitstreamError extends Error {}

// Reads numbers from bytes; `at` is the place of the next one. Beyond the end it throws a RangeError.
class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  take(count) {
    if (this.at + count > this.bytes.length) throw new RangeError("the bytes end");
    return this.bytes.subarray(this.at, (this.at += count));
  }

  byte() {
    return this.take(1)[0];
  }

  uint32() {
    const [a, b, c, d] = this.take(4);
    return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
  }

  varint() {
    let value = 0;
    for (let index = 0; index < 5; index++) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** (7 * index);
      if (byte < 128) {
        if (index && !byte) break;
        return value;
      }
    }
    throw new BitstreamError("a number in the file is longer than it has to be");
  }
}

// `{header, chunks}` of a file's bytes. Throws `BitstreamError` for one that is damaged, cut, or not of ternary codes.
//
// header: width, height, grey, digest (hexadecimal), tune, scale, first.
// chunks: a list of {kind, payload, end}; `end` is the size of the file that ends with this chunk.
export function parse(bytes) {
  const { header, at, crc } = parseHeader(bytes);
  return { header, chunks: parseChunks(bytes, at, crc) };
}

function parseHeader(bytes) {
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== "RNNC") {
    throw new BitstreamError("not an .rnnc file: it does not begin with RNNC");
  }
  const reader = new Reader(bytes, 4);
  let header, crc;
  try {
    const version = reader.byte();
    if (version !== 2) throw new BitstreamError(`format version ${version}; this decoder reads version 2`);
    const kind = reader.byte();
    if (kind & ~(15 | 16)) throw new BitstreamError(`flags ${kind >> 4}: unknown; a newer version may read the file`);
    if ((kind & 15) !== TERNARY) throw new BitstreamError(`coder ${kind & 15}; this decoder reads ternary codes, 2`);
    const [width, height] = [reader.varint(), reader.varint()];
    const digest = Array.from(reader.take(8), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const [tune, scale, first] = reader.take(3);
    header = { width, height, grey: Boolean(kind & 16), digest, tune, scale, first };
    crc = crc32(bytes.subarray(0, reader.at));
    if (reader.uint32() !== crc) throw new BitstreamError("the header fails its checksum");
  } catch (error) {
    if (error instanceof RangeError) throw new BitstreamError("the file ends inside its header");
    throw error;
  }
  const { width, height, tune, first } = header;
  if (!width || !height || tune > 1 || first > 10) {
    throw new BitstreamError(`the header claims ${width}x${height} pixels, tune ${tune}, first iteration ${first}`);
  }
  if (Math.ceil(width / 8) * Math.ceil(height / 8) * 64 > LARGEST_PICTURE) {
    throw new BitstreamError(`a picture of ${width}x${height} pixels is larger than this decoder draws`);
  }
  return { header, at: reader.at, crc };
}

function parseChunks(bytes, at, crc) {
  const reader = new Reader(bytes, at);
  const chunks = [];
  const seen = new Set();
  let iterations = 0;
  while (reader.at < bytes.length) {
    const number = chunks.length + 1;
    const start = reader.at;
    let kind, payload;
    try {
      const length = reader.varint();
      kind = length % 8;
      payload = reader.take(Math.floor(length / 8));
      crc = crc32(bytes.subarray(start, reader.at), crc);
      if (reader.uint32() !== crc) throw new BitstreamError(`chunk ${number} fails its checksum`);
    } catch (error) {
      if (error instanceof RangeError) throw new BitstreamError(`the file ends inside chunk ${number}`);
      throw error;
    }
    if (kind === 1 || kind > SPLITS) throw new BitstreamError(`chunk ${number} is of the unknown kind ${kind}`);
    const early = [METADATA, SCALES, SPLITS].includes(kind);
    if (seen.has(CUT) || (early && (iterations || seen.has(kind))) || number > MAX_CHUNKS) {
      throw new BitstreamError(`chunk ${number} is out of place`);
    }
    seen.add(kind);
    iterations += !early;
    chunks.push({ kind, payload, end: reader.at });
  }
  if (!iterations) throw new BitstreamError("the file ends after its header: it holds no iteration");
  return chunks;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  for (let bit = 0; bit < 8; bit++) index = index & 1 ? (index >>> 1) ^ 0xedb88320 : index >>> 1;
  return index;
});

// zlib's CRC-32, going on from an earlier one.
export function crc32(bytes, earlier = 0) {
  let crc = ~earlier;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// What each block's coefficients are divided by after decoding, all of a block of the transform by what the first of
// them is: a `Float64Array` of `rows * columns`.
export async function focusFactors(payload, rows, columns, parts) {
  const side = payload.length ? payload[0] : 0;
  if (!side) throw new BitstreamError("the map of scales has no cells");
  const [down, across] = [Math.ceil(rows / side), Math.ceil(columns / side)];
  const cells = await inflate(payload.subarray(1), down * across);
  if (cells.some((cell) => cell > 8)) throw new BitstreamError("the map of scales has a value above 8");
  return Float64Array.from({ length: rows * columns }, (_, block) => {
    const [row, column] = [Math.floor(block / columns), block % columns].map((k) => k - (k % parts));
    return 2 ** (-cells[Math.floor(row / side) * across + Math.floor(column / side)] / 4);
  });
}

// Exactly `size` bytes that zlib compressed, with nothing behind them.
async function inflate(packed, size) {
  const cells = new Uint8Array(size);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  let at = 0;
  try {
    for (const reader = stream.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      cells.set(value, at); // Throws where there is more than there should be, before the rest is inflated.
      at += value.length;
    }
  } catch {
    throw new BitstreamError("the map of scales is not readable, or has more cells than the picture");
  }
  if (at !== size) throw new BitstreamError(`the map of scales has ${at} cells, not ${size}`);
  // Not every implementation of DecompressionStream refuses bytes behind the end, which is this checksum.
  if (new Reader(packed.slice(-4).reverse()).uint32() !== adler32(cells)) {
    throw new BitstreamError("the map of scales goes on after its last cell");
  }
  return cells;
}

function adler32(bytes) {
  let a = 1, b = 0;
  for (const byte of bytes) (a = (a + byte) % 65521), (b = (b + a) % 65521);
  return ((b << 16) | a) >>> 0;
}
