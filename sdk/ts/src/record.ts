/** The genesis file, and records of blocks that a committee certified (protocol sections 3 and 7):
 * where a client knows from which epoch runs. */
import { type Bytes, equal, fromHex, ProtocolError, Reader, utf8, Writer } from "./bytes.js";
import { blsVerifySum } from "./keys.js";
import { b3k, contextKey } from "./tree.js";

/** A member of the committee: its keys, its stake and its voting power. */
export interface Member {
  node: number;
  key: Bytes;
  nodeKey: Bytes;
  stake: bigint; // micro-credits
  power: number;
}

/** What a client needs of a genesis file. */
export interface Genesis {
  network: Bytes; // 32 bytes
  committee: Member[];
  serveStake: bigint; // the least stake of a node
  rotation?: { seats: number; stakeCap: bigint }; // of a committee that changes
}

type Json = { [name: string]: unknown };

/** Reads a genesis file. The network that it returns is a hash of all that counts in it, so who
 * knows the network knows whether the file is right. */
export function parseGenesis(text: string): Genesis {
  // Integers that a number does not hold become strings of a kind that the file does not have.
  const exact = text.replace(/"(?:[^"\\]|\\.)*"|\d{16,}/g,
    (x) => x.startsWith('"') ? x : `"#${x}"`);
  const g = JSON.parse(exact) as Json;
  const w = new Writer();
  const bad = (what: string) => new ProtocolError("malformed", `genesis: ${what}`);
  const fields = (x: unknown, what: string, names: string[]): Json => {
    if (typeof x !== "object" || x === null || Array.isArray(x)) throw bad(`${what} is no object`);
    const has = Object.keys(x).sort().join(" ");
    if (has !== [...names].sort().join(" ")) throw bad(`${what} has the fields ${has}`);
    return x as Json;
  };
  const number = (x: unknown): number => {
    if (typeof x !== "number" || !Number.isSafeInteger(x)) throw bad("not an integer");
    return x;
  };
  const large = (x: unknown): bigint =>
    BigInt(typeof x === "string" && /^#\d+$/.test(x) ? x.slice(1) : number(x));
  const string = (x: unknown): string => {
    if (typeof x !== "string") throw bad("not a string");
    return x;
  };
  const list = (x: unknown): unknown[] => {
    if (!Array.isArray(x)) throw bad("not a list");
    return x;
  };
  const put = (x: unknown) => {
    const b = utf8(string(x));
    w.u16(b.length).raw(b);
  };
  fields(g, "it", ["version", "chain_id", "genesis_time", "treasury", "params", "committee",
    ...("checkpoint" in g ? ["checkpoint"] : [])]);
  const rotates = typeof g.params === "object" && g.params !== null && "rotation" in g.params;
  const p = fields(g.params, "params", ["epoch_seconds", "grace_seconds", "grace_blocks",
    "shares", "grant_fee", "grant_epochs", "allowance", "serve_stake", "slash_equivocation",
    "unbond_seconds", "proofs", ...(rotates ? ["rotation"] : [])]);
  const shares = fields(p.shares, "shares", ["node", "service", "protocol"]);
  const proofs = fields(p.proofs, "proofs", ["development", "keys"]);
  if (g.version !== 2) throw bad(`version ${g.version}`);
  w.u16(2);
  put(g.chain_id);
  put(g.genesis_time);
  w.raw(fromHex(string(g.treasury), 32));
  w.u32(number(p.epoch_seconds)).u32(number(p.grace_seconds)).u32(number(p.grace_blocks));
  w.u16(number(shares.node)).u16(number(shares.service)).u16(number(shares.protocol));
  w.u64(large(p.grant_fee)).u32(number(p.grant_epochs)).u64(large(p.allowance));
  w.u64(large(p.serve_stake)).u16(number(p.slash_equivocation));
  w.u32(number(p.unbond_seconds));
  w.u8(proofs.development === true ? 1 : 0);
  const keys = list(proofs.keys);
  w.u32(keys.length);
  for (const x of keys) {
    const k = fields(x, "a proof key", ["statements", "key"]);
    w.u32(number(k.statements)).raw(fromHex(string(k.key), 32));
  }
  const members = list(g.committee);
  w.u32(members.length);
  const committee: Member[] = [];
  for (const x of members) {
    const m = fields(x, "a member", ["owner", "bls_key", "proof", "transport_key",
      "node_signature", "consensus_key", "peer_address", "p2p_address", "stake"]);
    const key = fromHex(string(m.bls_key), 96);
    const nodeKey = fromHex(string(m.transport_key), 32);
    const stake = large(m.stake);
    w.raw(fromHex(string(m.owner), 32)).raw(key).raw(nodeKey);
    w.raw(fromHex(string(m.consensus_key), 32));
    put(m.peer_address);
    put(m.p2p_address);
    w.u64(stake);
    committee.push({ node: committee.length, key, nodeKey, stake,
      power: Number(stake / 1_000_000n) });
  }
  let rotation: Genesis["rotation"];
  if (rotates) {
    const r = fields(p.rotation, "rotation", ["seats", "term_epochs", "min_stake", "stake_cap",
      "jail_withhold", "slash_withhold", "jail_absent", "evidence_epochs", "evidence_seconds",
      "evidence_blocks", "reward"]);
    w.u16(number(r.seats)).u16(number(r.term_epochs));
    w.u64(large(r.min_stake)).u64(large(r.stake_cap));
    w.u32(number(r.jail_withhold)).u16(number(r.slash_withhold)).u32(number(r.jail_absent));
    w.u32(number(r.evidence_epochs)).u32(number(r.evidence_seconds));
    w.u32(number(r.evidence_blocks)).u16(number(r.reward));
    rotation = { seats: number(r.seats), stakeCap: large(r.stake_cap) };
    if (rotation.seats < 4 || rotation.seats > 512) throw bad(`${rotation.seats} seats`);
  }
  if ("checkpoint" in g) { // it goes on from the state of another network
    const c = fields(g.checkpoint, "checkpoint", ["network", "height", "app_hash", "nodes"]);
    w.raw(fromHex(string(c.network), 32)).u64(large(c.height)).raw(fromHex(string(c.app_hash), 32));
    const nodes = list(c.nodes).map(number);
    if (nodes.length !== committee.length || nodes.some((n, i) => i > 0 && n <= nodes[i - 1])) {
      throw bad("nodes that are not those of the committee");
    }
    nodes.forEach((node, i) => { w.u32(node); committee[i].node = node; });
  }
  return { network: b3k(contextKey("waybill/network/2"), w.end()), committee,
    serveStake: large(p.serve_stake), rotation };
}

/** What a client needs of the record of a block. */
export interface BlockRecord {
  term: number; // of the committee that signs it
  height: number;
  time: number; // milliseconds since 1970
  epoch: number;
  registryRoot: Bytes; // of who is registered after it
}

/** A member of the committee of a term. */
export interface Seated {
  node: number;
  key: Bytes; // 96 bytes
  power: number;
}

/** Who signs the records of a network: Terms. */
export interface Committees {
  readonly genesis: Genesis;
  /** The committee of a record, by node. It throws "unknown_term" when it is not known yet. */
  signers(record: BlockRecord): Seated[];
}

/** The term whose committee signs a record, before anything is verified. */
export function termOf(record: Uint8Array): number {
  const r = new Reader(record, "a record");
  r.tag("wb-rec/2");
  r.raw(32);
  return r.u32();
}

/** The keys of those in a bitmap, who are a quorum. */
export function enough(committee: Seated[], bitmap: Uint8Array,
  bad: (why: string) => ProtocolError): Bytes[] {
  const n = committee.length;
  if (bitmap.length !== Math.ceil(n / 8)) throw bad("signers of another committee");
  let power = 0;
  let total = 0;
  const keys: Bytes[] = [];
  for (let i = 0; i < 8 * bitmap.length; i++) {
    const set = (bitmap[i >> 3] >> (i & 7)) & 1;
    if (i >= n) {
      if (set) throw bad("a member that there is not");
      continue;
    }
    total += committee[i].power;
    if (set) {
      power += committee[i].power;
      keys.push(committee[i].key);
    }
  }
  if (3 * power <= 2 * total) throw bad("no quorum");
  return keys;
}

/** Returns what a record says once the committee's certificate of it is verified. */
export function verifyRecord(record: Uint8Array, certificate: Uint8Array,
  committees: Committees): BlockRecord {
  const bad = (why: string) => new ProtocolError("bad_record", why);
  const r = new Reader(record, "a record");
  r.tag("wb-rec/2");
  const network = r.raw(32);
  const x = { term: r.u32(), height: r.u64(), time: r.u64(), epoch: r.u32(),
    registryRoot: r.raw(4 + 32 + 32).slice(36) as Bytes };
  r.raw(4 + 32);
  r.end();
  if (!equal(network, committees.genesis.network)) throw bad("another network's");
  const c = new Reader(certificate, "a record certificate");
  const height = c.u64();
  const bitmap = c.raw(c.u8());
  const signature = c.raw(48);
  c.end();
  if (height !== x.height) throw bad("of something else");
  if (!blsVerifySum(enough(committees.signers(x), bitmap, bad), record, signature)) {
    throw bad("the signature does not verify");
  }
  return x;
}
