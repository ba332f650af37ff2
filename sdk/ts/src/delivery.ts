/** What client and node say to each other while content is delivered (protocol section 18). */
import { type Bytes, ProtocolError, Reader, Writer } from "./bytes.js";
import { TreeKind } from "./tree.js";

export const groupSize = 16384;
export const maxSize = 2 ** 50;
export const maxRecords = 256;
const maxRun = 64;
const parentSize = 64;
const maxParents = maxRun - 1 + 2 * (50 - 14);
const headSize = 172;

/** Why a node delivers nothing, or no more; by number. */
export const reasons: readonly string[] = ["", "malformed", "wrong_network", "wrong_node",
  "wrong_epoch", "stale_challenge", "bad_signature", "unknown_client", "not_valid",
  "unknown_service", "not_granted", "numbers_used", "unknown_session", "superseded", "client_owes",
  "payer_owes", "address_owes", "unpaid", "not_found", "denied", "range", "rate", "volume",
  "streams", "slow", "shutting_down", "failed", "not_acceptable", "stopped", "bad_module",
  "fuel_limit", "insufficient_reserve", "insufficient_allowance", "own_limit",
  "private"];

/** What a client signs to open a session. */
export interface Session {
  network: Uint8Array;
  node: number;
  client: number;
  epoch: number;
  id: Uint8Array; // 16 bytes, drawn
  challenge: Uint8Array; // 32 bytes, the node's
}

export const sessionMessage = (s: Session): Bytes =>
  new Writer().tag("wb-ses/2").raw(s.network, 32).u32(s.node).u64(s.client).u32(s.epoch)
    .raw(s.id, 16).raw(s.challenge, 32).end();

/** The bytes that open a session. */
export const openMessage = (s: Session, signature: Uint8Array): Bytes =>
  new Writer().raw(sessionMessage(s)).raw(signature, 48).end();

/** The bytes that end a stream. */
export const stopMessage = (session: Uint8Array, head: Uint8Array): Bytes =>
  new Writer().raw(session, 16).raw(head, 32).end();

/** The node's word of what it is about to send. */
export interface Head {
  node: number;
  epoch: number;
  height: number;
  client: number;
  session: Bytes;
  service: number;
  price: number;
  content: Bytes;
  manifest: Bytes;
  path: Bytes;
  size: number;
  offset: number;
  length: number;
}

export const headBytes = (h: Head): Bytes =>
  new Writer().u32(h.node).u32(h.epoch).u64(h.height).u64(h.client).raw(h.session, 16)
    .u32(h.service).u64(h.price).raw(h.content, 32).raw(h.manifest, 32).raw(h.path, 32)
    .u64(h.size).u64(h.offset).u64(h.length).end();

/** What a node signs of a head. Its B3 is the head digest. */
export const headMessage = (network: Uint8Array, h: Head): Bytes =>
  new Writer().tag("wb-hed/2").raw(network, 32).raw(headBytes(h)).end();

/** Decodes the body of a head frame. */
export function parseHead(b: Uint8Array): { head: Head; signature: Bytes } {
  const r = new Reader(b, "a head");
  const head: Head = { node: r.u32(), epoch: r.u32(), height: r.u64(), client: r.u64(),
    session: r.raw(16), service: r.u32(), price: r.u64(), content: r.raw(32),
    manifest: r.raw(32), path: r.raw(32), size: r.u64(), offset: r.u64(), length: r.u64() };
  const signature = r.raw(64);
  r.end();
  return { head, signature };
}

/** The kinds of frames. */
export const kind = { head: 1, run: 2, ask: 3, end: 4, abort: 5 } as const;

export const prefixSize = 5;

/** Decodes what stands before the body of a frame. */
export function parsePrefix(b: Uint8Array): { kind: number; length: number } {
  const r = new Reader(b, "a frame");
  const k = r.u8();
  const n = r.u32();
  r.end();
  let fits = false;
  switch (k) {
    case kind.head: fits = n === headSize + 64; break;
    case kind.run:
      fits = n >= 12 && (n - 12) % parentSize === 0 && (n - 12) / parentSize <= maxParents;
      break;
    case kind.ask: fits = n === 16; break;
    case kind.end: fits = n === 0; break;
    case kind.abort: fits = n === 9; break;
  }
  if (!fits) r.fail(`of kind ${k} with ${n} bytes`);
  return { kind: k, length: n };
}

/** Groups that follow a frame. */
export interface Run {
  first: number; // group
  groups: number;
  parents: Bytes;
}

export function parseRun(b: Uint8Array): Run {
  const r = new Reader(b, "a run");
  const first = r.u64();
  const groups = r.u32();
  if (groups < 1 || groups > maxRun || first > maxSize / groupSize - groups) {
    r.fail(`${groups} groups from ${first} on`);
  }
  const n = r.left;
  if (n % parentSize !== 0 || n / parentSize > maxParents) r.fail(`${n} bytes of parents`);
  return { first, groups, parents: r.raw(n) };
}

export function parseAsk(b: Uint8Array): { due: number; window: number } {
  const r = new Reader(b, "an ask");
  const ask = { due: r.u64(), window: r.u64() };
  r.end();
  return ask;
}

/** Decodes the body of an abort. Reasons of later versions have a number for a name. */
export function parseAbort(b: Uint8Array): { reason: string; after: number } {
  const r = new Reader(b, "an abort");
  const n = r.u8();
  const after = r.u64();
  r.end();
  if (n === 0) r.fail("no reason");
  return { reason: reasons[n] ?? `reason ${n}`, after };
}

/** What a client writes down of content that it received and verified. */
export interface Record {
  head: Uint8Array; // digest
  from: number;
  bytes: number;
  height: number;
  firstByte: number; // microseconds
  duration: number;
}

export const recordBytes = (x: Record): Bytes =>
  new Writer().tag("wb-get/2").raw(x.head, 32).u64(x.from).u64(x.bytes).u64(x.height)
    .u32(x.firstByte).u32(x.duration).end();

/** Decodes the 72 bytes of a request record. */
export function parseRecord(b: Uint8Array): Record {
  const r = new Reader(b, "a request record");
  r.tag("wb-get/2");
  const x: Record = { head: r.raw(32), from: r.u64(), bytes: r.u64(), height: r.u64(),
    firstByte: r.u32(), duration: r.u32() };
  r.end();
  if (x.bytes === 0) r.fail("no bytes");
  return x;
}

const requests = new TreeKind("request");

/** The request of an ack that covers 1 to 256 records. */
export function requestOf(records: Record[]): Bytes {
  if (records.length < 1 || records.length > maxRecords) {
    throw new RangeError("an ack covers 1 to 256 records");
  }
  return requests.root(records.map(recordBytes));
}

export const groupsOf = (size: number): number => Math.ceil(size / groupSize);

/** What a node sends for a range of a content: the whole groups that have a byte of it. */
export interface Span {
  first: number;
  groups: number;
  from: number;
  bytes: number;
}

/** The span of a range. One that is not within the content is refused, and one of no bytes unless
 * the content has none. */
export function widen(size: number, offset: number, length: number): Span {
  if (size > maxSize || offset < 0 || offset > size || length > size - offset ||
    (length <= 0 && size > 0)) {
    throw new ProtocolError("range", `${length} bytes from ${offset} on, of ${size}`);
  }
  const first = Math.floor(offset / groupSize);
  const groups = groupsOf(offset + length) - first;
  const from = first * groupSize;
  return { first, groups, from, bytes: Math.min(size, from + groups * groupSize) - from };
}
