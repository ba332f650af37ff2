/** Fetches content by its root or its path from nodes that are paid for it. */
import { Book, memoryStorage, type Storage } from "./book.js";
import { type Bytes, equal, fromHex, hex, ProtocolError } from "./bytes.js";
import { Calls, type FetchFunction, type Json, parsePin, pinText, temporary } from "./calls.js";
import { Directory } from "./directory.js";
import { bestKernel, type Kernel } from "./kernel.js";
import { Link, noStats, type Stats } from "./link.js";
import { type Entry, type Manifest, parseManifest, verifyManifest } from "./manifest.js";
import { type Genesis, parseGenesis } from "./record.js";
import { candidates } from "./route.js";
import { LocalSigner, type Signer } from "./signer.js";
import { Phased, Stream } from "./stream.js";
import { Terms } from "./terms.js";

/** A node that content is fetched from. */
export interface NodeConfig {
  url: string;
  pin: string; // network/node/key
  stake?: string; // micro-credits, as the registry has it; all the same without
}

/** Who fetches, from whom, with which service. */
export interface FetcherConfig {
  nodes?: NodeConfig[];
  /** Content ports of nodes that are asked for all nodes, in place of `nodes`; any will do. */
  ask?: string[];
  genesis: string; // the text of the network's genesis file
  client: number; // its index in the registry
  secret?: Uint8Array; // the client's BLS key; or a signer
  signer?: Signer;
  service: number;
  /** The account key of the service's owner, in hexadecimal, for content by its path. */
  owner?: string;
  /** The most that is paid for 2^20 bytes. By default the price that the ledger has. */
  maxPrice?: number;
  storage?: Storage; // of the book; in memory without
  stall?: number; // ms that a node may be silent; 10,000
  patience?: number; // ms after which a node that does not take acks is given up; 60,000
  /** Streams of one node at once: a browser has six connections to an HTTP/1.1 server, and acks
   * need one. By default 4, or 16 over https. */
  streams?: number;
  fetch?: FetchFunction;
  kernel?: Kernel;
}

/** Where and when fetching failed, and what it had cost until then. */
export class FetchError extends Error {
  readonly node: string; // its URL; empty for what concerns all
  /** route, price, manifest, session, request, head, stream, verify or acknowledge. */
  readonly phase: string;
  readonly root: string;
  readonly offset: number; // up to which the content was received and verified
  readonly charged: number; // bytes that the fetcher's nodes hold acks for
  readonly received: number;
  readonly code: string; // of the reason, where that has one
  readonly errors: readonly FetchError[]; // of all attempts, where there were several
  constructor(at: { node: string; phase: string; root: string; offset: number },
    sum: { received: number; charged: number }, cause: unknown, errors: FetchError[] = []) {
    const where = at.node === "" ? "" : `node ${at.node}: `;
    const why = cause instanceof Error ? cause.message : String(cause);
    const before = errors.slice(0, -1).map((e) => `; before that ${e.message}`).join("");
    const what = `${at.phase} of ${at.root || "all"} at byte ${at.offset}`;
    super(`${where}${what} (${sum.received} bytes received, ` +
      `${sum.charged} charged): ${why}${before}`, { cause });
    this.name = "FetchError";
    this.errors = errors;
    this.node = at.node;
    this.phase = at.phase;
    this.root = at.root;
    this.offset = at.offset;
    this.charged = sum.charged;
    this.received = sum.received;
    this.code = (cause as { code?: string } | undefined)?.code ?? "";
  }
}

export interface FetchOptions {
  from?: number; // the first byte
  to?: number; // the byte behind the last one
  type?: string;
  signal?: AbortSignal;
}

/** Content that is being fetched. Its size is the node's word until the last byte is verified. */
export class Content {
  readonly root: string;
  readonly size: number;
  readonly from: number;
  readonly to: number;
  readonly type: string;
  readonly body: ReadableStream<Uint8Array>;
  constructor(root: string, size: number, from: number, to: number, type: string,
    body: ReadableStream<Uint8Array>) {
    this.root = root;
    this.size = size;
    this.from = from;
    this.to = to;
    this.type = type;
    this.body = body;
  }

  /** An answer as a web server would give it. */
  response(): Response {
    const headers: { [name: string]: string } = { "Content-Type": this.type,
      "Content-Length": String(this.to - this.from), "Accept-Ranges": "bytes",
      ETag: `"${this.root}"` };
    const part = this.from > 0 || this.to < this.size;
    if (part) headers["Content-Range"] = `bytes ${this.from}-${this.to - 1}/${this.size}`;
    return new Response(this.body as ReadableStream<Uint8Array<ArrayBuffer>>,
      { status: part ? 206 : 200, headers });
  }

  async bytes(): Promise<Bytes> {
    const b = new Uint8Array(this.to - this.from);
    let at = 0;
    const reader = this.body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return b;
      b.set(value, at);
      at += value.length;
    }
  }

  async blob(): Promise<Blob> {
    return new Blob([await this.bytes()], { type: this.type });
  }
}

/** Lets so many in at once. */
class Gate {
  private free: number;
  private readonly waiting: (() => void)[] = [];
  constructor(places: number) {
    this.free = places;
  }

  async enter(): Promise<() => void> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((go) => this.waiting.push(go));
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const next = this.waiting.shift();
      if (next === undefined) this.free++;
      else next();
    };
  }
}

const maxTries = 2; // of one node while no bytes come
const manifestLife = 60_000;

interface Place {
  link: Link;
  gate: Gate;
  stake: bigint;
}

export class Fetcher {
  readonly config: FetcherConfig;
  readonly genesis: Genesis;
  readonly signer: Signer;
  private readonly terms: Terms;
  private readonly places: Place[] = []; // all that were ever of use
  private readonly directory: Directory | undefined;
  private readonly storage: Storage;
  private kernel: Promise<Kernel> | undefined;
  private tariff: Promise<{ price: number; cap: number }> | undefined;
  private cap = 1;
  private readonly drains = new Set<Promise<void>>();
  private manifest: { at: number; entries: Map<string, Entry>; serial: number } | undefined;
  private reading: Promise<Map<string, Entry>> | undefined;

  constructor(config: FetcherConfig) {
    if ((config.nodes ?? []).length === 0 && (config.ask ?? []).length === 0) {
      throw new RangeError("a fetcher without a node");
    }
    if (config.signer === undefined && config.secret === undefined) {
      throw new RangeError("a fetcher without the client's key");
    }
    this.config = config;
    this.genesis = parseGenesis(config.genesis);
    this.signer = config.signer ?? new LocalSigner(config.secret as Uint8Array);
    this.storage = config.storage ?? memoryStorage();
    this.terms = new Terms(this.genesis, this.storage);
    for (const n of config.nodes ?? []) this.place(n);
    if (this.places.length === 0) {
      this.directory = new Directory(this.terms, config.ask as string[],
        config.fetch ?? ((input, init) => globalThis.fetch(input, init)));
    }
  }

  /** What the fetcher has of a node. */
  private place(n: NodeConfig): Place {
    const { config } = this;
    const known = this.places.find((p) => pinText(p.link.calls.pin) === n.pin);
    if (known !== undefined) { // one book, wherever the node moved to
      known.link.move(n.url);
      return known;
    }
    const pin = parsePin(n.pin);
    if (!equal(pin.network, this.genesis.network)) {
      throw new ProtocolError("other_network", `the genesis file is not that of ${n.url}`);
    }
    const link = new Link({ calls: new Calls(n.url, pin, config.fetch), signer: this.signer,
      book: new Book(this.storage, pin, config.client, config.service), terms: this.terms,
      client: config.client, service: config.service, cap: () => this.cap,
      patience: config.patience ?? 60_000 });
    const streams = config.streams ?? (n.url.startsWith("https:") ? 16 : 4);
    const place = { link, gate: new Gate(streams), stake: BigInt(n.stake ?? 1) };
    this.places.push(place);
    return place;
  }

  /** The nodes of use now. */
  private async present(): Promise<Place[]> {
    if (this.directory === undefined) return this.places;
    try {
      const list = (await this.directory.list()).map((n) => this.place(n));
      if (list.length > 0) return list;
      throw new ProtocolError("no_node", "no node of the list delivers");
    } catch (err) {
      throw this.failure("", "route", "", 0, err);
    }
  }

  /** What was fetched from all nodes so far. */
  stats(): Stats {
    const sum = noStats();
    for (const { link } of this.places) {
      for (const name of Object.keys(sum) as (keyof Stats)[]) sum[name] += link.stats[name];
    }
    return sum;
  }

  /** What was fetched from each node that was asked: by its address. */
  statsOfNodes(): { url: string; node: number; stats: Stats }[] {
    return this.places.map(({ link }) =>
      ({ url: link.calls.url, node: link.calls.pin.node, stats: { ...link.stats } }));
  }

  private failure(node: string, phase: string, root: string, offset: number, err: unknown) {
    const phased = err instanceof Phased ? err : new Phased(phase, err);
    return new FetchError({ node, phase: phased.phase, root, offset }, this.stats(), phased.cause);
  }

  private agreed(): Promise<{ price: number; cap: number }> {
    this.tariff ??= this.ask().catch((err: unknown) => {
      this.tariff = undefined;
      throw err instanceof FetchError ? err : this.failure("", "price", "", 0, err);
    });
    return this.tariff;
  }

  private async ask(): Promise<{ price: number; cap: number }> {
    let last: unknown;
    for (const { link } of await this.present()) {
      try {
        const x = await link.calls.api("LedgerService", "GetServices",
          { from: this.config.service, count: 1 });
        const s = (x.services as Json[] | undefined)?.[0];
        if (s === undefined || Number(s.index ?? 0) !== this.config.service) {
          throw new ProtocolError("unknown_service", `there is no service ${this.config.service}`);
        }
        this.cap = Number(s.unitCap ?? s.unit_cap ?? 0);
        return { cap: this.cap, price: this.config.maxPrice ?? Number(s.price ?? 0) };
      } catch (err) {
        last = err;
        if (!temporary(err)) throw err;
      }
    }
    throw last;
  }

  /** Fetches content by its root, 64 hexadecimal digits, or by its path on the service's site. It
   * returns when the first bytes can be read. Errors are a FetchError. */
  async fetch(ref: string, options: FetchOptions = {}): Promise<Content> {
    if (ref.startsWith("/")) {
      const e = await this.entry(ref);
      return this.fetch(hex(e.root), { type: e.type, ...options });
    }
    const root = fromHex(ref, 32);
    const { price } = await this.agreed();
    this.kernel ??= this.config.kernel === undefined
      ? bestKernel() : Promise.resolve(this.config.kernel);
    const reader = new Reader(this.reading_(await this.present()), root, price, await this.kernel,
      options);
    await reader.connect();
    const to = Math.min(options.to ?? reader.size, reader.size);
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const data = await reader.read();
        if (data === undefined) controller.close();
        else controller.enqueue(data);
      },
      cancel: () => reader.leave(),
    }, { highWaterMark: 0 });
    return new Content(ref, reader.size, options.from ?? 0, to,
      options.type ?? "application/octet-stream", body);
  }

  /** What a reader needs of its fetcher. */
  private reading_(places: Place[]): Reading {
    return { places, config: this.config,
      failure: (node, phase, root, at, err) => this.failure(node, phase, root, at, err),
      drain: (s) => {
        const work = s.drain().finally(() => this.drains.delete(work));
        this.drains.add(work);
        return work;
      } };
  }

  /** What the site has under a path. */
  async entry(path: string): Promise<Entry> {
    const e = (await this.site()).get(path);
    if (e === undefined) {
      throw this.failure("", "manifest", "", 0, new ProtocolError("not_found", path));
    }
    return e;
  }

  /** What the site has under all its paths, as its owner signed it. */
  async site(): Promise<Map<string, Entry>> {
    const now = this.manifest;
    if (now !== undefined && performance.now() - now.at < manifestLife) return now.entries;
    this.reading ??= this.readManifest().finally(() => { this.reading = undefined; });
    try {
      return await this.reading;
    } catch (err) {
      if (now !== undefined && temporary(err)) return now.entries;
      throw err instanceof FetchError ? err : this.failure("", "manifest", "", 0, err);
    }
  }

  private async readManifest(): Promise<Map<string, Entry>> {
    const { owner, service } = this.config;
    if (owner === undefined) throw new ProtocolError("owner", "the site's owner is not configured");
    let last: unknown;
    for (const { link } of await this.present()) {
      try {
        const answer = await link.calls.small("GET", `/manifest/${service}`);
        const m: Manifest = parseManifest(new Uint8Array(await answer.arrayBuffer()));
        await link.showEpoch();
        verifyManifest(m, this.genesis.network, service, link.epoch, fromHex(owner, 32));
        if (this.manifest !== undefined && m.head.serial < this.manifest.serial) {
          throw new ProtocolError("serial", `${m.head.serial}, after ${this.manifest.serial}`);
        }
        const entries = new Map(m.entries.map((e) => [e.path, e]));
        this.manifest = { at: performance.now(), entries, serial: m.head.serial };
        return entries;
      } catch (err) {
        last = err; // another node may have the right one
      }
    }
    throw last;
  }

  /** Acknowledges what was received and waits until the nodes have answered. */
  async settle(): Promise<void> {
    await Promise.allSettled([...this.drains]);
    const results = await Promise.allSettled(this.places.map(({ link }) => link.settle()
      .catch((err: unknown) => {
        throw this.failure(link.calls.url, "acknowledge", "", 0, err);
      })));
    const failed = results.filter((r) => r.status === "rejected").map((r) => r.reason as unknown);
    if (failed.length === 1) throw failed[0];
    if (failed.length > 1) {
      const last = failed[failed.length - 1] as FetchError;
      throw new FetchError(last, last, last.cause, failed as FetchError[]);
    }
  }

  /** Settles. What a node did not answer to is in the book, and a later fetcher sends it. */
  async close(): Promise<void> {
    try {
      await this.settle();
    } finally {
      for (const { link } of this.places) link.close();
    }
  }
}

interface Reading {
  places: Place[];
  config: FetcherConfig;
  failure(node: string, phase: string, root: string, at: number, err: unknown): FetchError;
  drain(s: Stream): Promise<void>;
}

/** Reads content as it comes; when a node fails, it goes on at another one where it was. */
class Reader {
  private readonly o: Reading;
  private readonly root: Bytes;
  private readonly price: number;
  private readonly kernel: Kernel;
  private readonly options: FetchOptions;
  private readonly order: number[]; // places, the best candidate in front
  private readonly tried: number[];
  private stream: Stream | undefined;
  private release: (() => void) | undefined;
  private at: number;
  private errors: FetchError[] = [];
  private known = false;
  size = 0;

  constructor(o: Reading, root: Bytes, price: number, kernel: Kernel, options: FetchOptions) {
    this.o = o;
    this.root = root;
    this.price = price;
    this.kernel = kernel;
    this.options = options;
    this.at = options.from ?? 0;
    const { places } = o;
    const nodes = places.map(({ link, stake }) => ({ node: link.calls.pin.node, stake }));
    this.order = places.length === 1 ? [0] : candidates(root, nodes).map((node) =>
      nodes.findIndex((n) => n.node === node));
    this.tried = this.order.map(() => 0);
  }

  private get end(): number {
    return Math.min(this.options.to ?? this.size, this.size);
  }

  /** Gets a stream from where the reader is, from one node after the other. */
  async connect(): Promise<void> {
    while (this.stream === undefined) {
      const least = Math.min(...this.tried);
      if (least >= maxTries) {
        const last = this.errors[this.errors.length - 1];
        throw this.errors.length === 1 ? last
          : new FetchError(last, last, last.cause, this.errors);
      }
      const i = this.tried.indexOf(least);
      const { link, gate } = this.o.places[this.order[i]];
      const release = await gate.enter();
      try {
        const { service, client, stall } = this.o.config;
        const s = await Stream.request(link, { root: this.root, from: this.at,
          to: this.options.to, service, client, price: this.price }, this.kernel,
          stall ?? 10_000, this.options.signal);
        if (this.known && s.head.size !== this.size) {
          s.close();
          throw new Phased("head", new ProtocolError("head",
            `${s.head.size} bytes of content, where it had ${this.size} before`));
        }
        this.stream = s;
        this.release = release;
        this.size = s.head.size;
        this.known = true;
      } catch (err) {
        release();
        this.failed(i, err);
      }
    }
  }

  /** Notes a failure of a node. What the caller wanted itself is thrown. */
  private failed(i: number, err: unknown): void {
    const { link } = this.o.places[this.order[i]];
    const failure = this.o.failure(link.calls.url, "stream", hex(this.root), this.at, err);
    if (this.options.signal?.aborted) throw failure;
    this.tried[i]++;
    const cause = err instanceof Phased ? err.cause : err;
    // It will not be another node, or has said why not.
    if (!temporary(cause)) this.tried[i] = maxTries;
    const { code } = failure;
    if (code === "range") this.tried.fill(maxTries); // the caller's, at every node
    this.errors.push(failure);
  }

  /** The next verified bytes; undefined at the end. */
  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.at >= this.end) {
        await this.finish();
        return undefined;
      }
      await this.connect();
      const s = this.stream as Stream;
      const before = s.offset;
      const { data, error } = await s.run();
      const place = this.order.findIndex((p) => this.o.places[p].link === s.link);
      const skip = Math.max(0, this.at - before);
      const ready = data.subarray(skip, Math.max(skip, this.end - before));
      if (data.length > 0) {
        this.tried.fill(0);
        this.errors = [];
      }
      this.at += ready.length;
      if (error !== undefined || data.length === 0) {
        this.drop();
        s.close();
        if (error !== undefined && this.at < this.end) this.failed(place, error);
        if (error === undefined && this.at < this.end) {
          this.failed(place, new ProtocolError("malformed", "the stream ends early"));
        }
      }
      if (ready.length > 0) return ready;
    }
  }

  /** Takes the end of a stream that has brought all. */
  private async finish(): Promise<void> {
    const s = this.stream;
    if (s === undefined) return;
    if (s.complete) {
      await s.run(); // the end; all bytes are here, whatever follows them
      s.close();
      this.drop();
    } else {
      await this.leave();
    }
  }

  private drop(): void {
    this.stream = undefined;
    this.release?.();
    this.release = undefined;
  }

  /** Gives up the present stream. */
  async leave(): Promise<void> {
    const s = this.stream;
    const { release } = this;
    this.stream = undefined;
    this.release = undefined;
    if (s !== undefined) await this.o.drain(s).finally(release);
  }
}
