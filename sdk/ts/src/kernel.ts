/** The part of BLAKE3 that content goes through: chaining values of chunks, groups and parents, by
 * WebAssembly of this tree, or in JavaScript where a page's policy forbids WebAssembly. */
import { type Bytes } from "./bytes.js";
import { groupSize } from "./delivery.js";
import { scalarModule, simdModule } from "./modules.js";

/** What hashes content. The arrays that it returns are valid until its next call. */
export interface Kernel {
  readonly name: string;
  /** The chaining values, 32 bytes each, of groups that follow each other. The first one begins
   * with a chunk of a number; only the last one may have fewer bytes. */
  groups(data: Uint8Array, chunk: number): Uint8Array;
  /** The root of content of one group or less. */
  sole(data: Uint8Array): Uint8Array;
  /** The chaining values of parents, 64 bytes each. */
  parents(nodes: Uint8Array): Uint8Array;
  /** The root whose two children are these. */
  top(node: Uint8Array): Uint8Array;
}

const chunkSize = 1024;
const chunksOfGroup = groupSize / chunkSize;
const start = 1;
const end = 2;
const parent = 4;
const root = 8;

/** How compressions are done. Places are offsets in its memory. */
interface Engine {
  readonly name: string;
  readonly memory: () => Uint8Array;
  /** Hashes `count` inputs of `blocks` blocks, one behind the other: the number of the first one's
   * chunk, by how much it grows, and flags of all blocks, the first and the last. */
  hash(from: number, to: number, count: number, blocks: number, low: number, high: number,
    step: number, flags: number, first: number, last: number): void;
  /** Compresses one block of a length into the chaining value at a place. */
  compress(value: number, block: number, low: number, high: number, length: number,
    flags: number): void;
}

const iv = new Uint32Array([0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
  0x1f83d9ab, 0x5be0cd19]);
const ivBytes = new Uint8Array(32);
iv.forEach((x, i) => new DataView(ivBytes.buffer).setUint32(4 * i, x, true));

// Memory: the input, 64 groups and what a full vector reads behind them; then two tables of
// chaining values that take turns.
const mostGroups = 64;
const inputSize = mostGroups * groupSize;
const spare = 4 * chunkSize;
const tableSize = mostGroups * chunksOfGroup * 32 + 128;
const table0 = inputSize + spare;
const table1 = table0 + tableSize;
const memorySize = table1 + tableSize;

class Lanes implements Kernel {
  readonly name: string;
  private readonly e: Engine;
  constructor(e: Engine) {
    this.e = e;
    this.name = e.name;
  }

  groups(data: Uint8Array, chunk: number): Uint8Array {
    const count = Math.ceil(data.length / groupSize);
    const out = new Uint8Array(32 * count);
    for (let at = 0, i = 0; at < data.length; at += inputSize) {
      const part = data.subarray(at, at + inputSize);
      const whole = Math.floor(part.length / groupSize);
      this.e.memory().set(part, 0);
      if (whole > 0) {
        const place = this.whole(whole, chunk + at / chunkSize);
        out.set(this.e.memory().subarray(place, place + 32 * whole), 32 * i);
        i += whole;
      }
      if (part.length > whole * groupSize) {
        const place = this.part(whole * groupSize, part.length - whole * groupSize,
          chunk + (at + whole * groupSize) / chunkSize, 0);
        out.set(this.e.memory().subarray(place, place + 32), 32 * i);
      }
    }
    return out;
  }

  /** The values of whole groups, all levels in full vectors. */
  private whole(groups: number, chunk: number): number {
    let n = groups * chunksOfGroup;
    let from = table0;
    let to = table1;
    this.e.hash(0, from, n, 16, chunk >>> 0, Math.floor(chunk / 2 ** 32), 1, 0, start, end);
    for (; n > groups; n /= 2) {
      this.e.hash(from, to, n / 2, 1, 0, 0, 0, parent, 0, 0);
      [from, to] = [to, from];
    }
    return from;
  }

  /** The value of the bytes at a place, one group or less. */
  private part(at: number, size: number, chunk: number, flags: number): number {
    const chunks = Math.max(1, Math.ceil(size / chunkSize));
    const full = chunks - 1;
    if (full > 0) {
      this.e.hash(at, table0, full, 16, chunk >>> 0, Math.floor(chunk / 2 ** 32), 1, 0, start, end);
    }
    this.chunk(table0 + 32 * full, at + full * chunkSize, size - full * chunkSize, chunk + full,
      chunks === 1 ? flags : 0);
    return this.join(table0, chunks, flags);
  }

  /** The value of one chunk, of any length. */
  private chunk(value: number, at: number, size: number, number: number, flags: number): void {
    const memory = this.e.memory();
    memory.set(ivBytes, value);
    const blocks = Math.max(1, Math.ceil(size / 64));
    memory.fill(0, at + size, at + 64 * blocks);
    for (let i = 0; i < blocks; i++) {
      const last = i === blocks - 1;
      this.e.compress(value, at + 64 * i, number >>> 0, Math.floor(number / 2 ** 32),
        last ? size - 64 * i : 64, (i === 0 ? start : 0) | (last ? end | flags : 0));
    }
  }

  /** Joins so many values to one, level by level: the odd one at the end goes up as it is. */
  private join(at: number, count: number, flags: number): number {
    const memory = this.e.memory();
    for (let n = count; n > 1; n = Math.ceil(n / 2)) {
      for (let i = 0; i + 1 < n; i += 2) {
        const block = memory.slice(at + 32 * i, at + 32 * i + 64);
        const to = at + 16 * i;
        memory.set(block, table1);
        memory.set(ivBytes, to);
        this.e.compress(to, table1, 0, 0, 64, parent | (n === 2 ? flags : 0));
      }
      if (n % 2 === 1) memory.copyWithin(at + 16 * (n - 1), at + 32 * (n - 1), at + 32 * n);
    }
    return at;
  }

  sole(data: Uint8Array): Uint8Array {
    this.e.memory().set(data, 0);
    const place = this.part(0, data.length, 0, root);
    return this.e.memory().slice(place, place + 32);
  }

  parents(nodes: Uint8Array): Uint8Array {
    const n = nodes.length / 64;
    this.e.memory().set(nodes, 0);
    this.e.hash(0, table0, n, 1, 0, 0, 0, parent, 0, 0);
    return this.e.memory().slice(table0, table0 + 32 * n);
  }

  top(node: Uint8Array): Uint8Array {
    const memory = this.e.memory();
    memory.set(node, 0);
    memory.set(ivBytes, table0);
    this.e.compress(table0, 0, 0, 0, 64, parent | root);
    return memory.slice(table0, table0 + 32);
  }
}

const permutation = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

/** The engine in JavaScript. */
class Script implements Engine {
  readonly name = "javascript";
  private readonly bytes = new Uint8Array(memorySize);
  private readonly view = new DataView(this.bytes.buffer);
  private readonly v = new Uint32Array(16);
  private readonly m = new Uint32Array(16);
  private readonly p = new Uint32Array(16);
  memory = () => this.bytes;

  hash(from: number, to: number, count: number, blocks: number, low: number, high: number,
    step: number, flags: number, first: number, last: number): void {
    for (let i = 0; i < count; i++) {
      const value = table1 + tableSize - 32;
      this.bytes.set(ivBytes, value);
      const number = low + i * step;
      for (let b = 0; b < blocks; b++) {
        this.compress(value, from + 64 * (i * blocks + b), number >>> 0,
          high + Math.floor(number / 2 ** 32), 64,
          flags | (b === 0 ? first : 0) | (b === blocks - 1 ? last : 0));
      }
      this.bytes.copyWithin(to + 32 * i, value, value + 32);
    }
  }

  compress(value: number, block: number, low: number, high: number, length: number,
    flags: number): void {
    const { v, p } = this;
    let { m } = this;
    let next = p;
    for (let i = 0; i < 16; i++) m[i] = this.view.getUint32(block + 4 * i, true);
    for (let i = 0; i < 8; i++) {
      v[i] = this.view.getUint32(value + 4 * i, true);
      v[i + 8] = iv[i];
    }
    v[12] = low;
    v[13] = high;
    v[14] = length;
    v[15] = flags;
    const g = (a: number, b: number, c: number, d: number, x: number, y: number) => {
      v[a] += v[b] + x;
      let t = v[d] ^ v[a];
      v[d] = (t >>> 16) | (t << 16);
      v[c] += v[d];
      t = v[b] ^ v[c];
      v[b] = (t >>> 12) | (t << 20);
      v[a] += v[b] + y;
      t = v[d] ^ v[a];
      v[d] = (t >>> 8) | (t << 24);
      v[c] += v[d];
      t = v[b] ^ v[c];
      v[b] = (t >>> 7) | (t << 25);
    };
    for (let round = 0; ; round++) {
      g(0, 4, 8, 12, m[0], m[1]);
      g(1, 5, 9, 13, m[2], m[3]);
      g(2, 6, 10, 14, m[4], m[5]);
      g(3, 7, 11, 15, m[6], m[7]);
      g(0, 5, 10, 15, m[8], m[9]);
      g(1, 6, 11, 12, m[10], m[11]);
      g(2, 7, 8, 13, m[12], m[13]);
      g(3, 4, 9, 14, m[14], m[15]);
      if (round === 6) break;
      for (let i = 0; i < 16; i++) next[i] = m[permutation[i]];
      [m, next] = [next, m];
    }
    for (let i = 0; i < 8; i++) this.view.setUint32(value + 4 * i, v[i] ^ v[i + 8], true);
  }
}

interface Exports {
  memory: WebAssembly.Memory;
  hash: Engine["hash"];
  compress: Engine["compress"];
}

async function compiled(name: string, text: string): Promise<Engine> {
  const code = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const { instance } = await WebAssembly.instantiate(code);
  const x = instance.exports as unknown as Exports;
  const short = memorySize - x.memory.buffer.byteLength;
  if (short > 0) x.memory.grow(Math.ceil(short / 65536));
  const bytes = new Uint8Array(x.memory.buffer);
  return { name, memory: () => bytes, hash: x.hash, compress: x.compress };
}

/** The kernels that there are, the fastest one in front. */
export const kernels = {
  simd: async (): Promise<Kernel> => new Lanes(await compiled("simd", simdModule)),
  scalar: async (): Promise<Kernel> => new Lanes(await compiled("scalar", scalarModule)),
  javascript: async (): Promise<Kernel> => new Lanes(new Script()),
};

/** The fastest kernel that works here. */
export async function bestKernel(): Promise<Kernel> {
  for (const make of [kernels.simd, kernels.scalar]) {
    try {
      return await make();
    } catch {
      continue; // no such instructions here, or no WebAssembly at all
    }
  }
  return kernels.javascript();
}

/** The root of content that is at hand as a whole. */
export function rootOf(kernel: Kernel, data: Uint8Array): Bytes {
  if (data.length <= groupSize) return kernel.sole(data) as Bytes;
  let level = kernel.groups(data, 0);
  while (level.length > 64) {
    const pairs = level.length >> 6;
    const above = new Uint8Array(32 * Math.ceil(level.length / 64));
    for (let i = 0; i < pairs; i += 1024) {
      const n = Math.min(1024, pairs - i);
      above.set(kernel.parents(level.subarray(64 * i, 64 * (i + n))), 32 * i);
    }
    if (level.length % 64 !== 0) above.set(level.subarray(64 * pairs), 32 * pairs);
    level = above;
  }
  return kernel.top(level) as Bytes;
}
