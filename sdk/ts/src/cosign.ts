/** What a client finds true before it co-signs a window (protocol sections 14 and 16). The way that
 * offers come is not here: it is a stream in both directions, which browsers do not have. */
import { type Bytes, equal, fromHex, ProtocolError, Reader, Writer } from "./bytes.js";
import { type Json } from "./calls.js";
import { elementBytes, parents, parseElement } from "./poseidon2.js";
import { TreeKind } from "./tree.js";

/** A statement about one client's acks for one service in one window. */
export interface Statement {
  client: number;
  payer: number;
  service: number;
  first: number;
  acks: number;
  units: number;
  root: Bytes;
}

/** Neighbouring statements of a tree, with what leads to its root. */
export interface StatementRange {
  first: number;
  statements: Statement[];
  path: Bytes[];
}

/** What a node offers to co-sign. */
export interface Offer {
  network: Bytes;
  node: number;
  epoch: number;
  window: number;
  count: number;
  root: Bytes;
  ranges: StatementRange[];
  clients: number[];
  signature: Bytes;
}

const statementSize = 60;

function bytesOf(x: unknown): Bytes {
  return Uint8Array.from(atob(String(x ?? "")), (c) => c.charCodeAt(0));
}

/** Decodes an offer as the API has it in JSON. */
export function parseOffer(x: Json): Offer {
  const list = (v: unknown) => (Array.isArray(v) ? v : []) as Json[];
  const whole = (v: unknown): number => {
    const n = Number(v ?? 0);
    if (!Number.isSafeInteger(n) || n < 0) throw new ProtocolError("malformed", `number ${v}`);
    return n;
  };
  const root = bytesOf(x.root);
  const signature = bytesOf(x.signature);
  if (root.length !== 32 || signature.length !== 64) {
    throw new ProtocolError("malformed", "an offer's root or signature");
  }
  return { network: fromHex(String(x.network), 32), node: whole(x.node), epoch: whole(x.epoch),
    window: whole(x.window), count: whole(x.count), root, signature,
    clients: list(x.clients).map(whole), ranges: list(x.ranges).map((y) => {
      const payers = new Reader(bytesOf(y.payers), "payers");
      const r = new Reader(bytesOf(y.statements), "statements");
      const statements: Statement[] = [];
      while (r.left >= statementSize) {
        statements.push({ client: r.u64(), service: r.u32(), first: r.u32(), acks: r.u32(),
          units: r.u64(), root: r.raw(32), payer: payers.u32() });
      }
      r.end();
      payers.end();
      const siblings = new Reader(bytesOf(y.siblings), "siblings");
      const path: Bytes[] = [];
      while (siblings.left >= 32) path.push(siblings.raw(32));
      siblings.end();
      return { first: whole(y.first), statements, path };
    }) };
}

/** The two elements of a statement; malformed when it is out of bounds. */
export function elementsOf(s: Statement): [bigint, bigint] {
  const within = s.client < 2 ** 40 && s.acks >= 1 && s.acks < 2 ** 22 && s.units >= s.acks &&
    s.units <= 2 ** 44;
  if (!within) throw new ProtocolError("malformed", "a statement is out of bounds");
  const e0 = BigInt(s.payer) + (BigInt(s.service) << 32n) + (BigInt(s.client) << 64n) +
    (BigInt(s.first) << 108n) + (BigInt(s.acks) << 141n) + (BigInt(s.units) << 165n);
  return [e0, parseElement(s.root)];
}

function depthOf(count: number): number {
  let d = 3;
  for (let most = 8 * 16 ** 2; most < count; most *= 16) d++;
  return d;
}

/** Whether a range leads to the root of a tree of so many statements. */
export function rangeLeads(root: Uint8Array, count: number, range: StatementRange): boolean {
  const { first, statements } = range;
  let { path } = range;
  if (statements.length === 0 || count > 65536 || first + statements.length > count) return false;
  try {
    let level = statements.flatMap(elementsOf);
    let from = 2 * first;
    let total = 2 * count;
    for (let d = depthOf(count); d > 0; d--) {
      const left = from % 16;
      const to = from + level.length;
      const right = Math.min(total, 16 * Math.ceil(to / 16)) - to;
      if (path.length < left + right) return false;
      level = parents([...path.slice(0, left).map(parseElement), ...level,
        ...path.slice(left, left + right).map(parseElement)]);
      path = path.slice(left + right);
      from = (from - left) / 16;
      total = Math.ceil(total / 16);
    }
    return path.length === 0 && level.length === 1 && equal(elementBytes(level[0]), root);
  } catch (err) {
    if (err instanceof ProtocolError) return false;
    throw err;
  }
}

const ackTree = new TreeKind("ack");

/** An ack as its client remembers it. */
export interface Remembered {
  units: number;
  request: Uint8Array;
}

/** What a client remembers of a node and an epoch. */
export interface Memory {
  network: Uint8Array;
  payer?: number;
  signed?: { count: number; root: Uint8Array }; // what it co-signed for the window before
  any: boolean; // it signed an ack of this node and epoch
  acks(service: number, first: number, count: number): Remembered[] | undefined;
  refused(service: number, first: number, count: number): boolean;
}

/** The root of a statement about a run of acks. */
export function statementRoot(o: Pick<Offer, "node" | "epoch">, s: Omit<Statement, "root">,
  acks: Remembered[]): Bytes {
  const root = ackTree.root(acks.map((a, i) => new Writer().u32(o.epoch).u32(o.node).u64(s.client)
    .u32(s.service).u32(s.first + i).u64(a.units).raw(a.request, 32).end()));
  root[31] &= 0x1f;
  return root;
}

/** What a node signs of an offer: word `wb-off/2`. Who is offered verifies it under the node's key
 * first: its refusal is `bad_word`. */
export const offerMessage = (o: Offer): Bytes =>
  new Writer().tag("wb-off/2").raw(o.network, 32).u32(o.node).u32(o.epoch).u32(o.window)
    .u32(o.count).raw(o.root, 32).end();

/** What clients co-sign. */
export const cosignMessage = (o: Offer): Bytes =>
  new Writer().tag("wb-win/2").raw(o.network, 32).u32(o.epoch).u32(o.window).u32(o.node)
    .u32(o.count).raw(o.root, 32).end();

/** Why a client must not co-sign an offer; undefined when it may. */
export function whyNot(o: Offer, client: number, m: Memory): string | undefined {
  for (const range of o.ranges) if (!rangeLeads(o.root, o.count, range)) return "wrong_path";
  if (!equal(m.network, o.network)) return "wrong_network";
  if (m.signed !== undefined &&
    (m.signed.count !== o.count || !equal(m.signed.root, o.root))) return "repeated";
  if (!m.any) return "wrong_window";
  const places = o.ranges.flatMap((range) => {
    const lo = range.statements.findIndex((s) => s.client === client);
    if (lo < 0) return [];
    let hi = lo;
    while (hi < range.statements.length && range.statements[hi].client === client) hi++;
    const again = range.statements.slice(hi).some((s) => s.client === client);
    return [{ range, lo, hi, again }];
  });
  if (places.length === 0) return "no_statement";
  if (places.length > 1 || places[0].again) return "extra_statement";
  const { range: { first, statements }, lo, hi } = places[0];
  if ((lo === 0 && first > 0) || (hi === statements.length && first + hi < o.count) ||
    (lo > 0 && statements[lo - 1].client >= client) ||
    (hi < statements.length && statements[hi].client <= client)) return "neighbour";
  for (let i = lo; i < hi; i++) {
    const s = statements[i];
    if (i > lo && s.service <= statements[i - 1].service) return "extra_statement";
    if (m.payer !== undefined && s.payer !== m.payer) return "wrong_payer";
    const acks = s.acks <= 65536 ? m.acks(s.service, s.first, s.acks) : undefined;
    if (acks === undefined || acks.length !== s.acks) return "wrong_acks";
    if (acks.reduce((sum, a) => sum + a.units, 0) !== s.units) return "wrong_units";
    if (!equal(statementRoot(o, s, acks), s.root)) return "wrong_root";
    if (m.refused(s.service, s.first, s.acks)) return "refused_acks";
  }
  return undefined;
}
