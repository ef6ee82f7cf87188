// QR codes of short texts: bytes, error correction level M, versions 1 to 6, which need no version information.
// Source: ISO/IEC 18004; "data" and "check" are its codewords for the message and for error correction.

/** @typedef {(0 | 1 | undefined)[][]} Grid By row and column; 1 is dark, undefined is for the message. */

/** For each version from 1: the data codewords and the check codewords of a block, and the number of blocks. */
const VERSIONS = [
  { data: 16, check: 10, blocks: 1 },
  { data: 28, check: 16, blocks: 1 },
  { data: 44, check: 26, blocks: 1 },
  { data: 32, check: 18, blocks: 2 },
  { data: 43, check: 24, blocks: 2 },
  { data: 27, check: 16, blocks: 4 },
];

/** @type {((row: number, column: number) => number)[]} The message is inverted if the result is 0. */
const MASKS = [
  (row, column) => (row + column) % 2,
  (row) => row % 2,
  (_, column) => column % 3,
  (row, column) => (row + column) % 3,
  (row, column) => ((row >> 1) + Math.floor(column / 3)) % 2,
  (row, column) => ((row * column) % 2) + ((row * column) % 3),
  (row, column) => (((row * column) % 2) + ((row * column) % 3)) % 2,
  (row, column) => (((row + column) % 2) + ((row * column) % 3)) % 2,
];

/**
 * The modules of a text's code, by row and column; 1 is dark. Null if the text has more than 106 bytes in UTF-8.
 * @param {string} text @returns {(0 | 1)[][] | null}
 */
export function encode(text) {
  const bytes = [...new TextEncoder().encode(text)];
  const version = VERSIONS.findIndex(({ data, blocks }) => bytes.length <= data * blocks - 2) + 1;
  if (!version) return null;
  const bits = toBits(toCodewords(bytes, VERSIONS[version - 1]));
  const codes = MASKS.map((_, mask) => draw(version, bits, mask));
  const penalties = codes.map(penaltyOf);
  return codes[penalties.indexOf(Math.min(...penalties))];
}

/** All codewords in their order. @param {number[]} bytes @param {typeof VERSIONS[0]} version */
function toCodewords(bytes, { data, check, blocks }) {
  const message = `0100${toBits([bytes.length, ...bytes])}0000`; // the mode, the length, the text, the end
  const all = (message.match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2));
  while (all.length < data * blocks) all.push((all.length - bytes.length) % 2 ? 17 : 236);
  const messages = Array.from({ length: blocks }, (_, block) => all.slice(block * data, (block + 1) * data));
  return [...interleave(messages), ...interleave(messages.map((block) => checksOf(block, check)))];
}

/** @param {number[][]} blocks Of one length. */
function interleave(blocks) {
  return blocks[0].flatMap((_, index) => blocks.map((block) => block[index]));
}

/**
 * The remainder of a division by the generator polynomial (Reed-Solomon).
 * @param {number[]} data @param {number} count
 */
function checksOf(data, count) {
  let generator = [1]; // the coefficient of the highest power comes first
  for (let root = 1; generator.length <= count; root = multiply(root, 2)) {
    const shifted = [...generator, 0];
    generator.forEach((coefficient, index) => (shifted[index + 1] ^= multiply(coefficient, root)));
    generator = shifted;
  }
  const rest = [...data, ...Array(count).fill(0)];
  data.forEach((_, start) => {
    const factor = rest[start];
    generator.forEach((coefficient, index) => (rest[start + index] ^= multiply(coefficient, factor)));
  });
  return rest.slice(data.length);
}

/** In the field of 256 elements, modulo x^8 + x^4 + x^3 + x^2 + 1. @param {number} a @param {number} b */
function multiply(a, b) {
  let product = 0;
  for (let bit = 128; bit; bit >>= 1) product = (product << 1) ^ (product & 128 ? 0x11d : 0) ^ (b & bit ? a : 0);
  return product;
}

/** @param {number} version @param {string} bits @param {number} mask */
function draw(version, bits, mask) {
  const size = 17 + 4 * version;
  const last = size - 1;
  const grid = /** @type {Grid} */ (Array.from({ length: size }, () => Array(size).fill(undefined)));
  for (const [row, column] of [[3, 3], [3, last - 3], [last - 3, 3]]) drawRings(grid, row, column, [1, 1, 0, 1, 0]);
  if (version > 1) drawRings(grid, last - 6, last - 6, [1, 0, 1]);
  for (let at = 8; at < size - 8; at++) grid[6][at] = grid[at][6] = at % 2 ? 0 : 1;
  drawFormat(grid, mask);
  let upwards = true;
  let index = 0;
  for (let right = last; right > 0; right -= right === 8 ? 3 : 2) { // column 6 is taken
    for (let step = 0; step < size; step++) {
      const row = upwards ? last - step : step;
      for (const column of [right, right - 1]) {
        if (grid[row][column] !== undefined) continue;
        const isDark = (bits[index++] === "1") !== (MASKS[mask](row, column) === 0);
        grid[row][column] = isDark ? 1 : 0;
      }
    }
    upwards = !upwards;
  }
  return /** @type {(0 | 1)[][]} */ (grid);
}

/**
 * Square rings around a center, by which a reader finds and aligns the code.
 * @param {Grid} grid @param {number} row @param {number} column @param {(0 | 1)[]} colors From the center.
 */
function drawRings(grid, row, column, colors) {
  const offsets = Array.from({ length: 2 * colors.length - 1 }, (_, index) => index - colors.length + 1);
  for (const down of offsets.filter((down) => row + down in grid)) {
    for (const right of offsets.filter((right) => column + right in grid)) {
      grid[row + down][column + right] = colors[Math.max(Math.abs(down), Math.abs(right))];
    }
  }
}

/** The level and the mask, twice. @param {Grid} grid @param {number} mask */
function drawFormat(grid, mask) {
  let rest = mask; // the bits of level M are 00
  for (let bit = 0; bit < 10; bit++) rest = (rest << 1) ^ (rest & 512 ? 0x537 : 0);
  const format = ((mask << 10) | rest) ^ 0x5412;
  const last = grid.length - 1;
  for (let bit = 0; bit < 15; bit++) {
    const color = (format >> bit) & 1 ? 1 : 0;
    if (bit < 8) grid[bit < 6 ? bit : bit + 1][8] = grid[8][last - bit] = color;
    else grid[8][bit < 9 ? 7 : 14 - bit] = grid[last - 14 + bit][8] = color;
  }
  grid[last - 7][8] = 1;
}

/** How hard a code is to read: the standard's four rules. @param {(0 | 1)[][]} grid */
function penaltyOf(grid) {
  const rows = grid.map((row) => row.join(""));
  const columns = grid.map((_, column) => grid.map((row) => row[column]).join(""));
  let penalty = 0;
  for (const line of [...rows, ...columns]) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) penalty += run.length - 2;
    penalty += 40 * [...line.matchAll(/(?=00001011101|10111010000)/g)].length;
  }
  for (let row = 1; row < grid.length; row++) {
    for (let column = 1; column < grid.length; column++) {
      const dark = grid[row][column] + grid[row - 1][column] + grid[row][column - 1] + grid[row - 1][column - 1];
      if (dark % 4 === 0) penalty += 3;
    }
  }
  const share = rows.join("").replaceAll("0", "").length / grid.length ** 2;
  return penalty + 10 * Math.floor(Math.abs(share - 0.5) * 20);
}

/** @param {number[]} bytes */
function toBits(bytes) {
  return bytes.map((byte) => byte.toString(2).padStart(8, "0")).join("");
}
