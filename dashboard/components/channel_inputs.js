/* The input maps of a layer as they were sent. */

/* float16 as bytes → float32; not every browser has an array for it. */
function halves(bytes) {
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2), out = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i], sign = word & 0x8000 ? -1 : 1, power = (word >> 10) & 31, rest = word & 1023;
    out[i] = power === 31 ? (rest ? NaN : sign * Infinity) : sign * (power ? 2 ** (power - 15) * (1 + rest / 1024) : 2 ** -24 * rest);
  }
  return out;
}

const inputsOf = ({ halved, arrays }) => (halved ? halves(arrays.inputs) : arrays.inputs);
