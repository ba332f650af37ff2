/** Bytes, and how messages are put together and taken apart. All integers are little-endian. */

export type Bytes = Uint8Array<ArrayBuffer>;

/** What somebody sent is not what the protocol says. `code` is a name of the protocol where it has
 * one. */
export class ProtocolError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.name = "ProtocolError";
    this.code = code;
  }
}

const malformed = (what: string) => new ProtocolError("malformed", what);

export function hex(b: Uint8Array): string {
  let text = "";
  for (const x of b) text += (x < 16 ? "0" : "") + x.toString(16);
  return text;
}

/** Reads lower-case hexadecimal of exactly so many bytes, or of any number. */
export function fromHex(text: string, size?: number): Bytes {
  if (typeof text !== "string" || !/^([0-9a-f]{2})*$/.test(text)) {
    throw malformed("not lower-case hexadecimal");
  }
  if (size !== undefined && text.length !== 2 * size) {
    throw malformed(`${text.length} digits, where ${2 * size} are due`);
  }
  const b = new Uint8Array(text.length / 2);
  for (let i = 0; i < b.length; i++) b[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return b;
}

const encoder = new TextEncoder();

export const utf8 = (text: string): Bytes => encoder.encode(text) as Bytes;

export function concat(...parts: Uint8Array[]): Bytes {
  let size = 0;
  for (const p of parts) size += p.length;
  const b = new Uint8Array(size);
  let at = 0;
  for (const p of parts) {
    b.set(p, at);
    at += p.length;
  }
  return b;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Orders byte strings as the protocol does. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/** Puts a message together. */
export class Writer {
  private parts: Uint8Array[] = [];

  raw(b: Uint8Array, size?: number): this {
    if (size !== undefined && b.length !== size) {
      throw new RangeError(`${b.length} bytes, where ${size} are due`);
    }
    this.parts.push(b);
    return this;
  }

  tag(text: string): this {
    return this.raw(utf8(text));
  }

  private int(n: number, bits: 8 | 16 | 32): this {
    if (!Number.isInteger(n) || n < 0 || n >= 2 ** bits) {
      throw new RangeError(`${n} is no integer of ${bits} bits`);
    }
    const b = new Uint8Array(bits / 8);
    for (let i = 0; i < b.length; i++) b[i] = (n / 2 ** (8 * i)) & 255;
    return this.raw(b);
  }

  u8(n: number): this {
    return this.int(n, 8);
  }
  u16(n: number): this {
    return this.int(n, 16);
  }
  u32(n: number): this {
    return this.int(n, 32);
  }

  /** Numbers up to 2^53 − 1; a bigint for what is larger. */
  u64(n: number | bigint): this {
    if (typeof n === "number" && !Number.isSafeInteger(n)) {
      throw new RangeError(`${n} is no integer that a number holds`);
    }
    const big = BigInt(n);
    if (big < 0n || big >> 64n !== 0n) throw new RangeError(`${n} is no integer of 64 bits`);
    const b = new Uint8Array(8);
    new DataView(b.buffer).setBigUint64(0, big, true);
    return this.raw(b);
  }

  end(): Bytes {
    return concat(...this.parts);
  }
}

/** Takes a message apart. What is missing, and with `end` what is left over, is malformed. */
export class Reader {
  private at = 0;
  private readonly b: Uint8Array;
  private readonly what: string;
  constructor(b: Uint8Array, what: string) {
    this.b = b;
    this.what = what;
  }

  fail(why: string): never {
    throw malformed(`${this.what}: ${why}`);
  }

  get left(): number {
    return this.b.length - this.at;
  }

  /** The next bytes, copied. */
  raw(size: number): Bytes {
    if (size > this.left) this.fail(`${this.left} bytes, where ${size} are due`);
    this.at += size;
    return this.b.slice(this.at - size, this.at) as Bytes;
  }

  tag(text: string): this {
    if (!equal(this.raw(text.length), utf8(text))) this.fail(`it does not begin with ${text}`);
    return this;
  }

  private int(bytes: number): number {
    const b = this.raw(bytes);
    let n = 0;
    for (let i = bytes - 1; i >= 0; i--) n = n * 256 + b[i];
    return n;
  }

  u8(): number {
    return this.int(1);
  }
  u16(): number {
    return this.int(2);
  }
  u32(): number {
    return this.int(4);
  }

  /** A u64 that a number holds: nothing that this client counts is larger. */
  u64(): number {
    const n = this.big();
    if (n > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(`${n} is beyond 2^53 - 1`);
    return Number(n);
  }

  big(): bigint {
    const b = this.raw(8);
    return new DataView(b.buffer, b.byteOffset, 8).getBigUint64(0, true);
  }

  end(): void {
    if (this.left > 0) this.fail(`${this.left} bytes left over`);
  }
}
