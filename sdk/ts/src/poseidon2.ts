/** The hash of statements: Poseidon2 of width 16 over the scalar field of BN254 (protocol section
 * 13). Its constants are drawn here, as that section says. */
import { type Bytes, ProtocolError } from "./bytes.js";

/** The order of the field. */
export const fieldOrder = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001n;

const r = fieldOrder;
const width = 16;
const external = 8;
const internal = 57;

interface Constants {
  keys: bigint[][]; // of each round
  diagonal: bigint[]; // of the internal matrix, less one
}

/** Draws numbers from the LFSR Grain in self-shrinking mode. */
function draw(): Constants {
  const state = new Uint8Array(80);
  let at = 0;
  for (const [value, bits] of [[1, 2], [0, 4], [254, 12], [width, 12], [external, 10],
    [internal, 10], [2 ** 30 - 1, 30]]) {
    for (let i = bits - 1; i >= 0; i--) state[at++] = Math.floor(value / 2 ** i) & 1;
  }
  at = 0; // of the oldest bit
  const step = (): number => {
    const b = (i: number) => state[(at + i) % 80];
    const next = b(62) ^ b(51) ^ b(38) ^ b(23) ^ b(13) ^ b(0);
    state[at] = next;
    at = (at + 1) % 80;
    return next;
  };
  for (let i = 0; i < 160; i++) step();
  const number = (): bigint => {
    let text = "0b";
    while (text.length < 2 + 254) {
      const take = step();
      const bit = step();
      if (take === 1) text += bit;
    }
    return BigInt(text);
  };
  const below = (): bigint => {
    for (;;) {
      const n = number();
      if (n < r) return n;
    }
  };
  const keys: bigint[][] = [];
  for (let round = 0; round < external + internal; round++) {
    const full = round < external / 2 || round >= external / 2 + internal;
    keys.push(Array.from({ length: full ? width : 1 }, below));
  }
  let diagonal: bigint[] = [];
  for (let candidate = 0; candidate < 7; candidate++) {
    diagonal = Array.from({ length: width }, () => number() % r);
  }
  return { keys, diagonal: diagonal.map((d) => (d + r - 1n) % r) };
}

let drawn: Constants | undefined;

export function constants(): Constants {
  drawn ??= draw();
  return drawn;
}

const power5 = (x: bigint): bigint => {
  const square = (x * x) % r;
  return (((square * square) % r) * x) % r;
};

/** Multiplies by the external matrix: blocks of M4, twice on the diagonal. */
function multiplyExternal(x: bigint[]): void {
  const sums = [0n, 0n, 0n, 0n];
  for (let i = 0; i < width; i += 4) {
    const [a, b, c, d] = x.slice(i, i + 4);
    x[i] = 5n * a + 7n * b + c + 3n * d;
    x[i + 1] = 4n * a + 6n * b + c + d;
    x[i + 2] = a + 3n * b + 5n * c + 7n * d;
    x[i + 3] = a + b + 4n * c + 6n * d;
    for (let j = 0; j < 4; j++) sums[j] += x[i + j];
  }
  for (let i = 0; i < width; i++) x[i] = (x[i] + sums[i % 4]) % r;
}

/** The permutation of sixteen elements. */
export function permute(elements: readonly bigint[]): bigint[] {
  const { keys, diagonal } = constants();
  const x = [...elements];
  multiplyExternal(x);
  for (const round of keys) {
    for (let i = 0; i < round.length; i++) x[i] = power5((x[i] + round[i]) % r);
    if (round.length === width) {
      multiplyExternal(x);
      continue;
    }
    let sum = 0n;
    for (const e of x) sum += e;
    for (let i = 0; i < width; i++) x[i] = (sum + diagonal[i] * x[i]) % r;
  }
  return x;
}

/** Sixteen elements to one; absent ones are zero. */
export function compress(elements: readonly bigint[]): bigint {
  const x = [...elements];
  while (x.length < width) x.push(0n);
  return (permute(x)[0] + x[0]) % r;
}

/** The parents of a level. */
export function parents(level: readonly bigint[]): bigint[] {
  const above: bigint[] = [];
  for (let i = 0; i < level.length; i += width) above.push(compress(level.slice(i, i + width)));
  return above;
}

/** Decodes an element: 32 bytes, little-endian, below the order. */
export function parseElement(b: Uint8Array): bigint {
  let n = 0n;
  for (let i = 31; i >= 0; i--) n = (n << 8n) | BigInt(b[i]);
  if (b.length !== 32 || n >= r) throw new ProtocolError("malformed", "an element of the field");
  return n;
}

export function elementBytes(n: bigint): Bytes {
  const b = new Uint8Array(32);
  for (let i = 0; i < 32; i++) b[i] = Number((n >> BigInt(8 * i)) & 255n);
  return b;
}
