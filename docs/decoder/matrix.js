// Matrix products, and the residual layer that both networks are made of.

// `x -> x @ weight + bias`. Sums are 64-bit floats: exact for the entropy model's integers.
export class Matrix {
  // `weight(input, output)` and `bias(output)` give the numbers.
  constructor(inputs, outputs, weight, bias = () => 0) {
    this.inputs = inputs;
    this.width = Math.ceil(outputs / 4) * 4; // Numbers in a row of the result.
    // Four outputs side by side, so that the innermost loop reads on.
    this.panels = new Float64Array(inputs * this.width);
    this.bias = new Float64Array(this.width);
    for (let output = 0; output < outputs; output++) {
      const at = (output >> 2) * 4 * inputs + (output & 3);
      for (let input = 0; input < inputs; input++) this.panels[at + 4 * input] = weight(input, output);
      this.bias[output] = bias(output);
    }
  }

  // Writes the products of `count` rows of `x` (Float64Array; row k begins at `at + k * stride`) to `out`, or with `add`
  // adds them to it instead of to the bias.
  multiply(x, at, stride, count, out, add = false) {
    const { inputs, width, panels, bias } = this;
    for (let column = 0; column < width; column += 4) {
      const start = column * inputs, end = start + 4 * inputs;
      for (let row = 0; row < count; row += 2) {
        // An odd last row is computed twice.
        const second = row + 1 < count ? row + 1 : row;
        const to = row * width + column, and = second * width + column;
        const from = add ? out : bias, i = add ? to : column, j = add ? and : column;
        let a0 = from[i], a1 = from[i + 1], a2 = from[i + 2], a3 = from[i + 3];
        let b0 = from[j], b1 = from[j + 1], b2 = from[j + 2], b3 = from[j + 3];
        for (let k = start, p = at + row * stride, q = at + second * stride; k < end; k += 4, p++, q++) {
          const a = x[p], b = x[q];
          const w0 = panels[k], w1 = panels[k + 1], w2 = panels[k + 2], w3 = panels[k + 3];
          (a0 += a * w0), (a1 += a * w1), (a2 += a * w2), (a3 += a * w3);
          (b0 += b * w0), (b1 += b * w1), (b2 += b * w2), (b3 += b * w3);
        }
        (out[to] = a0), (out[to + 1] = a1), (out[to + 2] = a2), (out[to + 3] = a3);
        (out[and] = b0), (out[and + 1] = b1), (out[and + 2] = b2), (out[and + 3] = b3);
      }
    }
  }
}

// Replaces `hidden` (rows, columns, channels) by `finish(hidden + back(activate(wide(hidden))))`, in place, a row at a
// time. `wide` is a 3x3 convolution, zero outside the picture: three matrices, one for each row of its kernel; `back` a
// matrix. Both functions take and give one number.
export function residual(hidden, rows, columns, channels, wide, activate, back, finish) {
  const line = (columns + 2) * channels, row = columns * channels;
  const lines = new Float64Array(3 * line); // The row before, this and the next, as they were, with a zero at each side.
  const inner = new Float64Array(row), out = new Float64Array(row);
  const load = (y) => {
    const at = (y % 3) * line + channels;
    if (y < rows) lines.set(hidden.subarray(y * row, (y + 1) * row), at);
    else lines.fill(0, at, at + row);
  };
  load(0);
  for (let y = 0; y < rows; y++) {
    load(y + 1);
    for (let dy = 0; dy < 3; dy++) {
      wide[dy].multiply(lines, ((y + dy + 2) % 3) * line, channels, columns, inner, dy > 0);
    }
    for (let index = 0; index < row; index++) inner[index] = activate(inner[index]);
    back.multiply(inner, 0, channels, columns, out);
    for (let index = 0, at = y * row; index < row; index++, at++) hidden[at] = finish(hidden[at] + out[index]);
  }
}
