/** Which nodes content is asked of (protocol section 20). */
import { type Bytes, Writer } from "./bytes.js";
import { b3k, contextKey } from "./tree.js";

/** A node that may be a candidate. */
export interface Stake {
  node: number;
  stake: bigint; // micro-credits
}

const scoreKey = contextKey("waybill/route/2");

/** The pseudo-random number of a root and a node. */
export function draw(root: Uint8Array, node: number): bigint {
  const digest: Bytes = b3k(scoreKey, new Writer().raw(root, 32).u32(node).end());
  return new DataView(digest.buffer, digest.byteOffset).getBigUint64(0, true);
}

/** -log2(x / 2^64) in units of 2^-32, digit by digit in whole numbers. */
export function distance(drawn: bigint): bigint {
  const x = drawn | 1n;
  const high = BigInt(x.toString(2).length - 1);
  let log = high << 32n;
  let m = x << (63n - high);
  for (let digit = 1n << 31n; digit > 0n; digit >>= 1n) {
    const square = m * m;
    if (square >> 127n === 1n) {
      m = square >> 64n;
      log += digit;
    } else {
      m = square >> 63n;
    }
  }
  return (64n << 32n) - log;
}

/** The first k candidates for a root among nodes, the best one in front. Nodes without a stake are
 * none. */
export function candidates(root: Uint8Array, nodes: Stake[], k = 8): number[] {
  const list = nodes.filter((n) => n.stake > 0n)
    .map((n) => ({ ...n, d: distance(draw(root, n.node)) }));
  list.sort((a, b) => {
    const x = a.d * b.stake;
    const y = b.d * a.stake;
    return x < y ? -1 : x > y ? 1 : a.node - b.node;
  });
  return list.slice(0, k).map((n) => n.node);
}
