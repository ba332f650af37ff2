/** Committees, term after term: that of the genesis file, and those that hand-overs lead to, each
 * signed by a quorum of the one before (docs/rotation.md). */
import { type Storage } from "./book.js";
import { type Bytes, concat, equal, fromHex, hex, ProtocolError, Reader, Writer } from "./bytes.js";
import { blsVerifySum } from "./keys.js";
import { type BlockRecord, type Committees, enough, type Genesis, type Seated } from "./record.js";
import { b3, b3k, contextKey, TreeKind } from "./tree.js";

const nobody = 2 ** 32 - 1;
const leastWeight = 100_000_000n;
const keptTerms = 64; // committees that records are still verified with

const seedKey = contextKey("waybill/seed/2");
const seatKey = contextKey("waybill/seat/2");
const committeeTree = new TreeKind("committee");
const termTree = new TreeKind("term");

const bad = (why: string) => new ProtocolError("bad_hand_over", why);

/** The holders of term 0: each seat is drawn among the members of the genesis, by stake. */
function firstSeats(genesis: Genesis, seats: number, cap: bigint): number[] {
  const seed = b3k(seedKey, concat(genesis.network, ...genesis.committee.map((m) => m.key)));
  const sums: bigint[] = [];
  let total = 0n;
  for (const { stake } of genesis.committee) sums.push(total += stake < cap ? stake : cap);
  if (total < leastWeight) throw new ProtocolError("malformed", "genesis: too little at stake");
  return Array.from({ length: seats }, (_, seat) => {
    const x = point(seed, seat, total * BigInt(seat) / BigInt(seats),
      total * BigInt(seat + 1) / BigInt(seats));
    return genesis.committee[sums.findIndex((sum) => sum > x)].node;
  });
}

/** A point from lo up to hi, without bias. */
function point(seed: Bytes, seat: number, lo: bigint, hi: bigint): bigint {
  const width = hi - lo;
  for (let count = 0; ; count++) {
    const digest = b3k(seatKey, new Writer().raw(seed, 32).u32(0).u32(seat).u32(count).end());
    const u = new DataView(digest.buffer, digest.byteOffset).getBigUint64(0, true);
    if (u >= (1n << 64n) % width) return lo + u % width;
  }
}

/** The right edge of a tree that grows: enough for its root. */
interface Edge {
  count: number;
  peaks: Bytes[];
}

function grow(e: Edge, leaf: Bytes): Edge {
  const peaks = [...e.peaks];
  let at = leaf;
  for (let n = e.count; n % 2 === 1; n = (n - 1) / 2) at = termTree.node(peaks.pop() as Bytes, at);
  return { count: e.count + 1, peaks: [...peaks, at] };
}

function rootOf(e: Edge): Bytes {
  let at = e.peaks[e.peaks.length - 1];
  for (let i = e.peaks.length - 2; i >= 0; i--) at = termTree.node(e.peaks[i], at);
  return at;
}

/** A committee and its time. */
interface Term {
  seats: number[]; // their holders
  epoch: number; // in which they were drawn; -1 for those of the genesis
}

/** All that the next hand-over builds on. */
interface State {
  last: number;
  recent: Term[]; // the last ones up to `last`, two at least where there were so many
  keys: Map<number, Bytes>;
  past: Edge; // over all terms up to the last one
}

interface Hop {
  epoch: number;
  changes: [seat: number, holder: number][];
  seed: Bytes;
  snapshot: Bytes; // height, bytes and root
  signers: Bytes;
  signature: Bytes;
}

/** Asks a node for a file of hand-overs, from a term on. */
export type AskTerms = (first: number) => Promise<Bytes>;

/** The committees of a network as a client knows them: from its genesis file alone, and from what
 * was verified before and is kept in a storage, where nobody else writes. */
export class Terms implements Committees {
  readonly genesis: Genesis;
  private readonly fixed: Seated[] | undefined;
  private readonly storage: Storage | undefined;
  private restored: Promise<void> | undefined;
  private state: State;
  private following: Promise<void> | undefined;

  constructor(genesis: Genesis, storage?: Storage) {
    this.genesis = genesis;
    this.storage = storage;
    const { committee, rotation } = genesis;
    if (rotation === undefined) {
      this.fixed = committee.map((m) => ({ node: m.node, key: m.key, power: m.power }));
      this.state = { last: 0, recent: [], keys: new Map(), past: { count: 0, peaks: [] } };
      return;
    }
    const keys = new Map(committee.map((m) => [m.node, m.key]));
    const seats = firstSeats(genesis, rotation.seats, rotation.stakeCap);
    this.state = { last: 0, recent: [{ seats, epoch: -1 }], keys,
      past: grow({ count: 0, peaks: [] }, termLeaf(0, seated(seats, keys))) };
  }

  /** The last term that is known. */
  get last(): number {
    return this.state.last;
  }

  /** The root of the committee of one of the last terms. */
  root(term: number): Bytes {
    const { last, recent, keys } = this.state;
    const x = recent[term - last + recent.length - 1];
    if (x === undefined) throw new ProtocolError("unknown_term", `${term}`);
    return committeeRoot(seated(x.seats, keys));
  }

  /** Who signs a record. It throws "unknown_term" for a term that hand-overs have not led to, and
   * "office" for a record of another time than its committee's: old keys make none of today. */
  signers(record: BlockRecord): Seated[] {
    const { last, recent, keys } = this.state;
    if (this.fixed !== undefined) {
      if (record.term !== 0) throw new ProtocolError("bad_record", "of another committee");
      return this.fixed;
    }
    if (record.term > last) {
      throw new ProtocolError("unknown_term", `${record.term}, after ${last}`);
    }
    const i = record.term - last + recent.length - 1;
    const until = recent[i + 2]?.epoch ?? Infinity;
    if (i < 0 || record.epoch <= recent[i].epoch || record.epoch > until) {
      throw new ProtocolError("office", `term ${record.term} in epoch ${record.epoch}`);
    }
    return seated(recent[i].seats, keys);
  }

  /** Has a node show the hand-overs up to a term, when they are not known. All that ask at a time
   * wait for one answer. */
  async follow(term: number, ask: AskTerms): Promise<void> {
    if (this.fixed !== undefined || term <= this.last) return;
    await (this.restored ??= this.restore());
    while (term > this.last) {
      this.following ??= ask(this.last + 1).then((file) => this.take(file))
        .finally(() => { this.following = undefined; });
      await this.following;
    }
  }

  /** Verifies a file of hand-overs (type 5) from the next term on, and takes all of them or none.
   * A hop takes some ten milliseconds; pages are drawn in between. */
  async take(file: Uint8Array): Promise<void> {
    if (this.fixed !== undefined) throw bad("the committee is that of the genesis for ever");
    const { first, keys, hops } = parse(file, this.genesis.network);
    let state = this.state;
    if (first !== state.last + 1) throw bad(`from term ${first} on, after ${state.last}`);
    state = { ...state, keys: newcomers(state, keys, hops) };
    for (const hop of hops) {
      state = step(state, hop, this.genesis.network);
      await new Promise((done) => setTimeout(done, 0));
    }
    this.state = state;
    await this.storage?.put(this.name, this.kept());
  }

  private get name(): string {
    return `terms/${hex(this.genesis.network)}`;
  }

  private kept(): string {
    const { last, recent, keys, past } = this.state;
    return JSON.stringify({ last, recent, keys: [...keys].map(([node, key]) => [node, hex(key)]),
      count: past.count, peaks: past.peaks.map(hex) });
  }

  private async restore(): Promise<void> {
    const kept = await this.storage?.get(this.name);
    if (kept === undefined) return;
    const x = JSON.parse(kept) as { last: number; recent: Term[]; keys: [number, string][];
      count: number; peaks: string[] };
    if (x.last <= this.last) return;
    this.state = { last: x.last, recent: x.recent,
      keys: new Map(x.keys.map(([node, key]) => [node, fromHex(key, 96)])),
      past: { count: x.count, peaks: x.peaks.map((p) => fromHex(p, 32)) } };
  }
}

/** Reads a file of type 5. */
function parse(file: Uint8Array, network: Uint8Array) {
  const r = new Reader(file, "hand-overs");
  r.tag("wb-exp/2");
  if (!equal(r.raw(32), network)) throw bad("of another network");
  if (r.u8() !== 5) r.fail("another type of file");
  const first = r.u32();
  const count = r.u32();
  const keys: [number, Bytes][] = [];
  for (let n = r.u32(); n > 0; n--) {
    const node = r.u32();
    if (keys.length > 0 && keys[keys.length - 1][0] >= node) r.fail("keys do not ascend");
    keys.push([node, r.raw(96)]);
  }
  if (first === 0 || count === 0) r.fail("no term");
  const hops: Hop[] = [];
  for (let i = 0; i < count; i++) {
    const epoch = r.u32();
    const changes: Hop["changes"] = [];
    for (let n = r.u16(); n > 0; n--) {
      const seat = r.u16();
      if (changes.length > 0 && changes[changes.length - 1][0] >= seat) {
        r.fail("seats do not ascend");
      }
      changes.push([seat, r.u32()]);
    }
    const seed = r.raw(32);
    const snapshot = r.raw(8 + 8 + 32);
    hops.push({ epoch, changes, seed, snapshot, signers: r.raw(r.u8()), signature: r.raw(48) });
  }
  r.end();
  return { first, keys, hops };
}

/** The keys with those of the file, which are of exactly the nodes that get a seat and had none. */
function newcomers(state: State, given: [number, Bytes][], hops: Hop[]): Map<number, Bytes> {
  const sitting = new Set(state.recent[state.recent.length - 1].seats);
  const want = new Set<number>();
  for (const hop of hops) {
    for (const [, holder] of hop.changes) {
      if (holder !== nobody && !sitting.has(holder)) want.add(holder);
    }
  }
  const keys = new Map(state.keys);
  if (given.length !== want.size) throw bad("keys of others than those that get a seat");
  for (const [node, key] of given) {
    const known = keys.get(node);
    if (!want.has(node) || (known !== undefined && !equal(known, key))) {
      throw bad(`another key of node ${node}`);
    }
    keys.set(node, key);
  }
  return keys;
}

/** How many seats each holder has. */
function powers(seats: number[]): Map<number, number> {
  const held = new Map<number, number>();
  for (const holder of seats) {
    if (holder !== nobody) held.set(holder, (held.get(holder) ?? 0) + 1);
  }
  return held;
}

/** The committee that holds seats, by node. */
function seated(seats: number[], keys: Map<number, Bytes>): Seated[] {
  return [...powers(seats)].sort(([a], [b]) => a - b)
    .map(([node, power]) => ({ node, power, key: keys.get(node) as Bytes }));
}

const committeeRoot = (committee: Seated[]): Bytes => committeeTree.root(committee.map((m) =>
  new Writer().u32(m.node).u64(m.power).raw(m.key, 96).end()));

const termLeaf = (term: number, committee: Seated[]): Bytes =>
  termTree.leaf(new Writer().u32(term).raw(committeeRoot(committee), 32).end());

/** What is known after a hop. */
function step(state: State, hop: Hop, network: Bytes): State {
  const now = state.recent[state.recent.length - 1];
  const seats = [...now.seats];
  for (const [seat, holder] of hop.changes) {
    if (seat >= seats.length) throw bad(`there is no seat ${seat}`);
    if (seats[seat] === holder) throw bad(`seat ${seat} is node ${holder}'s already`);
    seats[seat] = holder;
  }
  if (hop.epoch <= now.epoch) throw bad(`drawn in epoch ${hop.epoch}, not after ${now.epoch}`);
  const k = seats.length;
  if (hop.changes.length > Math.ceil(k / 3) - 1) throw bad(`${hop.changes.length} seats change`);
  const before = powers(now.seats);
  const after = powers(seats);
  if (after.size < Math.min(4, before.size)) throw bad("few members");
  for (const [node, power] of after) {
    if (3 * power >= k && 3 * (before.get(node) ?? 0) < k) throw bad(`node ${node} gets a third`);
  }
  const term = state.last + 1;
  const signers = seated(now.seats, state.keys);
  const committee = seated(seats, state.keys);
  const holders = new Writer();
  for (const holder of seats) holders.u32(holder);
  const message = new Writer().tag("wb-han/2").raw(network, 32).u32(term).u32(hop.epoch)
    .raw(committeeRoot(committee), 32).raw(b3(holders.end()), 32).raw(hop.seed, 32)
    .raw(rootOf(state.past), 32).raw(hop.snapshot, 48).end();
  if (!blsVerifySum(enough(signers, hop.signers, bad), message, hop.signature)) {
    throw bad(`the signature of term ${term} does not verify`);
  }
  return { last: term, recent: [...state.recent.slice(1 - keptTerms), { seats, epoch: hop.epoch }],
    keys: state.keys, past: grow(state.past, termLeaf(term, committee)) };
}
