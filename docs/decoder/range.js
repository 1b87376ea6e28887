// The range decoder: `queue.RangeDecoder` of the library constriction, 32-bit words and a 64-bit state. See "Range
// coder" in ../format.md. Numbers of 64 bits are pairs of unsigned 32-bit halves; every product here is exact in a
// double.

const WORD = 2 ** 32;

export class RangeDecoder {
  // `bytes`: little-endian words; zero bytes at the end may be missing.
  constructor(bytes) {
    this.words = new Uint32Array(Math.ceil(bytes.length / 4));
    bytes.forEach((byte, at) => (this.words[at >> 2] |= byte << (8 * (at & 3))));
    this.next = 0;
    this.fresh = true;
    // How far the coded number lies above the interval's lower end, and the width of the interval.
    this.distanceHigh = this.word();
    this.distanceLow = this.word();
    this.rangeHigh = this.rangeLow = WORD - 1;
  }

  word() {
    return this.next < this.words.length ? this.words[this.next++] : 0;
  }

  // A decision that is 1 with probability `probability / 65536`. Undefined where the words are no range coder's
  // output.
  decide(probability) {
    this.fresh = false;
    const zeros = 256 * (65536 - probability) - (probability < 32768 ? 1 : 0); // Of 2**24.
    // scale = range >> 24, in the pieces `top`, `middle`, of 16 and 24 bits; border = scale * zeros.
    const middle = (this.rangeHigh & 65535) * 256 + (this.rangeLow >>> 24);
    const upper = (this.rangeHigh >>> 16) * zeros;
    const lower = (upper % 256) * 2 ** 24 + middle * zeros;
    const borderHigh = Math.floor(upper / 256) + Math.floor(lower / WORD), borderLow = lower % WORD;
    const one =
      this.distanceHigh > borderHigh || (this.distanceHigh === borderHigh && this.distanceLow >= borderLow);
    if (one) {
      let high = this.rangeHigh - borderHigh, low = ((this.rangeLow & 0xff000000) >>> 0) - borderLow;
      if (low < 0) (low += WORD), high--;
      this.rangeHigh = high;
      this.rangeLow = low;
      high = this.distanceHigh - borderHigh;
      low = this.distanceLow - borderLow;
      if (low < 0) (low += WORD), high--;
      this.distanceHigh = high;
      this.distanceLow = low;
      if (high > this.rangeHigh || (high === this.rangeHigh && low >= this.rangeLow)) return undefined;
    } else {
      this.rangeHigh = borderHigh;
      this.rangeLow = borderLow;
    }
    if (this.rangeHigh === 0) {
      this.rangeHigh = this.rangeLow;
      this.rangeLow = 0;
      this.distanceHigh = this.distanceLow;
      this.distanceLow = this.word();
    }
    return one ? 1 : 0;
  }

  // Whether all words were read, and no more than the encoder's last ones can be left.
  get exhausted() {
    const near = this.distanceHigh === 0 || (this.distanceHigh === 1 && this.distanceLow < WORD - 1);
    return this.next === this.words.length && (this.fresh || near);
  }
}
