// The weights file: safetensors. See "Weights" in ../format.md.

// {digest, tensors} of a `.safetensors` file's bytes; `tensors` maps a name to {shape, data}, floats as Float32Array.
// Throws an Error for a file that is not one of ternary codes, or is damaged.
export async function readWeights(bytes) {
  let header, body;
  try {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = Number(view.getBigUint64(0, true));
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
    body = Uint8Array.from(bytes.subarray(8 + size));
  } catch {
    throw new Error("the weights are not a .safetensors file");
  }
  const { __metadata__: metadata = {}, ...entries } = header;
  if (metadata.codes !== "ternary") throw new Error("the weights are not a model of ternary codes");
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(entries)) {
    const data = typed(dtype, body.slice(start, end).buffer); // A copy, for its place in memory is even.
    if (data.length !== shape.reduce((a, b) => a * b, 1)) throw new Error(`tensor ${name} of the weights is damaged`);
    tensors.set(name, { shape, data });
  }
  const actual = await digest(tensors);
  if (actual !== undefined && actual !== metadata.digest) {
    throw new Error("the weights are not the ones that their digest names: the file is damaged");
  }
  return { digest: metadata.digest, tensors };
}

function typed(dtype, buffer) {
  if (dtype === "I8") return new Int8Array(buffer);
  if (dtype === "I32") return new Int32Array(buffer);
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "F16") return Float32Array.from(new Uint16Array(buffer), half);
  throw new Error(`tensors of type ${dtype} are no part of a model of ternary codes`);
}

// The value of a 16-bit float: 1 bit of sign, 5 of exponent, 10 of fraction.
function half(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent === 31 ? NaN : exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
  return bits & 0x8000 ? -size : size;
}

// The first 8 bytes of SHA-256 over names, shapes and values as 64-bit floats, in hexadecimal.
async function digest(tensors) {
  if (!globalThis.crypto?.subtle) return undefined; // Browsers have it on https and on this machine only.
  const encoder = new TextEncoder();
  const parts = [encoder.encode('{"codes": "ternary"}')];
  for (const name of [...tensors.keys()].sort()) {
    const { shape, data } = tensors.get(name);
    parts.push(encoder.encode(`${name}(${shape.join(", ")}${shape.length === 1 ? "," : ""})`));
    parts.push(Float64Array.from(data));
  }
  const all = await new Blob(parts).arrayBuffer();
  const sha = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return Array.from(sha.subarray(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
