/** Signatures: BLS12-381 with signatures in G1, and Ed25519 (protocol section 2). */
import { bls12_381 } from "@noble/curves/bls12-381.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { type Bytes, concat, equal, hex } from "./bytes.js";

const bls = bls12_381.shortSignatures;
const signingSuite = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
const proofSuite = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/** Makes a client's secret key: 32 bytes, big-endian. */
export const newSecretKey = (): Bytes => bls12_381.utils.randomSecretKey() as Bytes;

/** The public key, 96 bytes. */
export const publicKey = (secret: Uint8Array): Bytes => bls.getPublicKey(secret).toBytes() as Bytes;

function signWith(suite: string, secret: Uint8Array, message: Uint8Array): Bytes {
  return bls.sign(bls.hash(message, suite), secret).toBytes() as Bytes;
}

/** Signs a message: 48 bytes, always the same. It takes some milliseconds. */
export const blsSign = (secret: Uint8Array, message: Uint8Array): Bytes =>
  signWith(signingSuite, secret, message);

/** Signs a proof of possession. */
export const blsProve = (secret: Uint8Array, message: Uint8Array): Bytes =>
  signWith(proofSuite, secret, message);

type Key = ReturnType<typeof bls.getPublicKey>;

// Keys of members come again with every record, and decoding one takes milliseconds.
const parsed = new Map<string, Key>();
const maxParsed = 2048;

function parseKey(key: Uint8Array): Key {
  const name = hex(key);
  let point = parsed.get(name);
  if (point === undefined) {
    point = bls12_381.G2.Point.fromBytes(key);
    point.assertValidity(); // on the curve, in the subgroup, not the identity
    if (parsed.size >= maxParsed) parsed.clear();
    parsed.set(name, point);
  }
  return point;
}

function verifyUnder(suite: string, key: Key, message: Uint8Array, signature: Uint8Array) {
  try {
    const point = bls12_381.G1.Point.fromBytes(signature);
    point.assertValidity();
    return bls.verify(point, bls.hash(message, suite), key);
  } catch {
    return false;
  }
}

export function blsVerify(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verifyUnder(signingSuite, parseKey(key), message, signature);
  } catch {
    return false;
  }
}

export function blsVerifyProof(key: Uint8Array, message: Uint8Array, proof: Uint8Array): boolean {
  try {
    return verifyUnder(proofSuite, parseKey(key), message, proof);
  } catch {
    return false;
  }
}

/** Whether a sum of signatures of one message verifies under the sum of the keys. */
export function blsVerifySum(keys: Uint8Array[], message: Uint8Array, sum: Uint8Array): boolean {
  try {
    const key = bls.aggregatePublicKeys(keys.map(parseKey));
    return !key.is0() && verifyUnder(signingSuite, key, message, sum);
  } catch {
    return false;
  }
}

const order = ed25519.Point.Fn.ORDER;

function little(b: Uint8Array): bigint {
  let n = 0n;
  for (let i = b.length - 1; i >= 0; i--) n = (n << 8n) | BigInt(b[i]);
  return n;
}

/** Whether 32 bytes are the canonical encoding of a point of the prime-order subgroup other than
 * the identity. */
export function isEdKey(key: Uint8Array): boolean {
  try {
    const point = ed25519.Point.fromBytes(key, false);
    return point.isTorsionFree() && !point.is0() && equal(point.toBytes(), key);
  } catch {
    return false;
  }
}

/** Verifies an Ed25519 signature as the protocol says: S below the order, and the encoding of
 * [S]B - [k]A, without the cofactor, is R. */
export function edVerifySync(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64 || !isEdKey(key)) return false;
  const s = little(signature.subarray(32));
  if (s >= order) return false;
  const k = little(sha512(concat(signature.subarray(0, 32), key, message))) % order;
  const a = ed25519.Point.fromBytes(key, false);
  const sb = s === 0n ? ed25519.Point.ZERO : ed25519.Point.BASE.multiplyUnsafe(s);
  const ka = k === 0n ? ed25519.Point.ZERO : a.multiplyUnsafe(k);
  return equal(sb.subtract(ka).toBytes(), signature.subarray(0, 32));
}

/** A node's or an account's key, which is checked once. It verifies by the platform where that
 * can, which is some twenty times faster. */
export class EdKey {
  readonly bytes: Bytes;
  private native: Promise<CryptoKey | undefined>;
  constructor(key: Uint8Array) {
    if (!isEdKey(key)) throw new RangeError("not a valid Ed25519 key");
    this.bytes = key.slice() as Bytes;
    const subtle = globalThis.crypto?.subtle;
    this.native = subtle === undefined
      ? Promise.resolve(undefined)
      : subtle.importKey("raw", this.bytes, "Ed25519", false, ["verify"]).catch(() => undefined);
  }

  async verify(message: Uint8Array, signature: Uint8Array): Promise<boolean> {
    const key = await this.native;
    if (key === undefined) return edVerifySync(this.bytes, message, signature);
    return crypto.subtle.verify("Ed25519", key, signature.slice() as Bytes,
      message.slice() as Bytes);
  }
}

/** Signs with an account's or a node's key, given as its seed. */
export const edSign = (seed: Uint8Array, message: Uint8Array): Bytes =>
  ed25519.sign(message, seed) as Bytes;

export const edPublicKey = (seed: Uint8Array): Bytes => ed25519.getPublicKey(seed) as Bytes;
