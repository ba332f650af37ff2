/** Which nodes content is asked of (protocol section 20). */
import { type Bytes, equal, ProtocolError, Reader, Writer } from "./bytes.js";
import { type BlockRecord, type Committees, type Genesis, termOf, verifyRecord } from "./record.js";
import { b3k, contextKey, TreeKind } from "./tree.js";

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

/** A node as the registry has it. */
export interface RegisteredNode {
  node: number;
  key: Bytes; // its node key
  since: number;
  until: number;
  stake: bigint;
  convicted: boolean;
}

const leafSize = 150;
const nodeTree = new TreeKind("node");
const registryKey = contextKey("waybill/registry/2");

/** The term whose committee signed a list of nodes, before anything is verified. */
export function listTerm(b: Uint8Array): number {
  const r = new Reader(b, "a list of nodes");
  r.tag("wb-lst/2");
  return termOf(r.raw(168));
}

/** Reads a list of nodes, which the committee signed for: whoever gives it. */
export function parseNodeList(b: Uint8Array, committees: Committees):
  { record: BlockRecord; nodes: RegisteredNode[] } {
  const r = new Reader(b, "a list of nodes");
  const bad = (why: string) => new ProtocolError("bad_list", why);
  r.tag("wb-lst/2");
  const encoded = r.raw(168);
  const height = r.raw(8);
  const length = r.u8();
  const certificate = new Writer().raw(height).u8(length).raw(r.raw(length + 48)).end();
  const record = verifyRecord(encoded, certificate, committees);
  const heads = r.raw(144);
  if (!equal(b3k(registryKey, heads), record.registryRoot)) throw bad("other heads");
  const h = new Reader(heads, "heads");
  h.raw(8 + 32);
  const count = h.u32();
  const root = h.raw(32);
  if (r.left !== count * leafSize) throw bad(`${r.left} bytes of ${count} nodes`);
  const leaves = Array.from({ length: count }, () => r.raw(leafSize));
  r.end();
  if (!equal(nodeTree.root(leaves), root)) throw bad("other nodes");
  return { record, nodes: leaves.map((leaf, node) => {
    const x = new Reader(leaf, "a node");
    x.raw(96);
    const key = x.raw(32);
    x.u32();
    return { node, key, since: x.u32(), until: x.u32(), stake: x.big(), convicted: x.u8() === 5 };
  }) };
}

/** The nodes before a record is certified. */
export const genesisNodes = (genesis: Genesis): RegisteredNode[] =>
  genesis.committee.map((m) => ({ node: m.node, key: m.nodeKey, since: 0, until: 2 ** 32 - 1,
    stake: m.stake, convicted: false }));

/** The nodes that may serve in an epoch. */
export const eligible = (nodes: RegisteredNode[], epoch: number, genesis: Genesis) =>
  nodes.filter((n) => n.since <= epoch && epoch < n.until && !n.convicted && n.stake > 0n &&
    n.stake >= genesis.serveStake);
