/** One stream of one node: what is taken from it, and what is not (protocol section 18). */
import { type Bytes, equal, hex, ProtocolError } from "./bytes.js";
import { RefusedError, refusal } from "./calls.js";
import { Decoder } from "./decoder.js";
import { groupSize, headMessage, type Head, kind, maxSize, parseAbort, parseAsk, parseHead,
  parsePrefix, parseRun, prefixSize, stopMessage, widen } from "./delivery.js";
import { type Kernel } from "./kernel.js";
import { type Link } from "./link.js";
import { b3 } from "./tree.js";

/** An error with the phase in which it came up. */
export class Phased extends Error {
  readonly phase: string;
  constructor(phase: string, cause: unknown) {
    super(phase, { cause });
    this.phase = phase;
  }
}

async function within<T>(phase: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (err) {
    throw err instanceof Phased ? err : new Phased(phase, err);
  }
}

/** Bytes of a response, read in pieces of any size. */
class Input {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private have: Uint8Array = new Uint8Array();
  private readonly clock: (read: () => Promise<ReadableStreamReadResult<Uint8Array>>) =>
    Promise<ReadableStreamReadResult<Uint8Array>>;

  constructor(body: ReadableStream<Uint8Array>, clock: Input["clock"]) {
    this.reader = body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.clock = clock;
  }

  /** Fills b, and returns how many bytes came: fewer only with an error. */
  async fill(b: Uint8Array): Promise<{ got: number; error?: unknown }> {
    let got = 0;
    while (got < b.length) {
      if (this.have.length === 0) {
        try {
          const { value, done } = await this.clock(() => this.reader.read());
          if (done) throw new ProtocolError("malformed", "the stream ends early");
          this.have = value;
        } catch (error) {
          return { got, error };
        }
      }
      const n = Math.min(this.have.length, b.length - got);
      b.set(this.have.subarray(0, n), got);
      this.have = this.have.subarray(n);
      got += n;
    }
    return { got };
  }

  async exactly(n: number): Promise<Bytes> {
    const b = new Uint8Array(n);
    const { error } = await this.fill(b);
    if (error !== undefined) throw error;
    return b;
  }

  cancel(): void {
    this.reader.cancel().catch(() => undefined);
  }
}

/** What a stream is asked for. */
export interface Wanted {
  root: Bytes;
  from: number;
  to?: number; // excluded; all that there is without it
  service: number;
  client: number;
  price: number; // the most that is paid for 2^20 bytes
}

const micros = (since: number) =>
  Math.min(2 ** 32 - 1, Math.max(1, Math.round(1000 * (performance.now() - since))));

export class Stream {
  readonly link: Link;
  head!: Head;
  private readonly want: Wanted;
  private readonly kernel: Kernel;
  private readonly session: Bytes;
  private readonly stall: number;
  private readonly control = new AbortController();
  private readonly began = performance.now();
  private firstByte = 0;
  private digest!: Bytes;
  private input!: Input;
  private decoder: Decoder | undefined;
  private end = 0;
  private over = false;

  private constructor(link: Link, want: Wanted, kernel: Kernel, session: Bytes, stall: number,
    signal?: AbortSignal) {
    this.link = link;
    this.want = want;
    this.kernel = kernel;
    this.session = session;
    this.stall = stall;
    signal?.addEventListener("abort", () => this.control.abort(signal.reason), { once: true });
    if (signal?.aborted) this.control.abort(signal.reason);
  }

  /** Asks a node. The head is read and checked when it returns. */
  static async request(link: Link, want: Wanted, kernel: Kernel, stall: number,
    signal?: AbortSignal): Promise<Stream> {
    let session = await within("session", link.open());
    for (let again = true; ; again = false) {
      const s = new Stream(link, want, kernel, session, stall, signal);
      try {
        await s.ask();
        return s;
      } catch (err) {
        s.close();
        const code = err instanceof Phased && err.cause instanceof RefusedError
          ? err.cause.code : "";
        if (!again || (code !== "unknown_session" && code !== "superseded")) throw err;
        session = await within("session", link.open(session));
      }
    }
  }

  /** Lets a read take as long as a node may be silent. */
  private async timed<T>(read: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.control.abort(new RefusedError("no_answer",
      `the node was silent for ${this.stall} ms`)), this.stall);
    try {
      return await read();
    } catch (err) {
      throw this.control.signal.aborted ? this.control.signal.reason : err;
    } finally {
      clearTimeout(timer);
    }
  }

  private async ask(): Promise<void> {
    const { root, from, to, service } = this.want;
    const headers: { [name: string]: string } = {
      Accept: `application/vnd.waybill.stream;session=${hex(this.session)};service=${service}` };
    if (from > 0 || to !== undefined) {
      headers.Range = `bytes=${from}-${to === undefined ? "" : to - 1}`;
    }
    const response = await within("request", this.timed(() => this.link.calls.fetch(
      `${this.link.calls.url}/b3/${hex(root)}`,
      { headers, signal: this.control.signal, cache: "no-store" })));
    if (!response.ok || response.body === null) {
      throw new Phased("request", await refusal(response));
    }
    this.input = new Input(response.body, (read) => this.timed(read));
    await within("head", this.begin());
  }

  private async frame(): Promise<{ kind: number; body: Bytes }> {
    const p = parsePrefix(await this.input.exactly(prefixSize));
    return { kind: p.kind, body: await this.input.exactly(p.length) };
  }

  /** Reads the head, and takes nothing of the stream unless it is the pinned node's, is about what
   * was asked for, and names no higher price than was agreed. */
  private async begin(): Promise<void> {
    const bad = (why: string) => new ProtocolError("head", why);
    const f = await this.frame();
    if (f.kind !== kind.head) throw bad(`the first frame is of kind ${f.kind}`);
    const { head: h, signature } = parseHead(f.body);
    const { pin } = this.link.calls;
    const message = headMessage(pin.network, h);
    const w = this.want;
    if (!(await pin.key.verify(message, signature))) throw bad("not the node's word");
    if (h.node !== pin.node || h.client !== w.client || !equal(h.session, this.session) ||
      h.service !== w.service || !equal(h.content, w.root)) {
      throw bad("it is about something else");
    }
    if (h.price > w.price) throw bad(`a price of ${h.price}, where ${w.price} is agreed`);
    if (h.epoch < await this.link.bookEpoch()) throw bad(`epoch ${h.epoch}, which is over`);
    if (h.size > maxSize) throw bad(`${h.size} bytes of content`);
    const to = Math.min(h.size, w.to ?? h.size);
    const span = w.from < h.size || h.size === 0
      ? widen(h.size, w.from, to - w.from) : { first: 0, from: 0, bytes: 0 };
    if (h.offset !== span.from || h.length !== span.bytes) {
      throw bad(`bytes ${h.offset} to ${h.offset + h.length} of ${h.size}, where those from ` +
        `${w.from} on were asked for`);
    }
    this.head = h;
    this.end = h.offset + h.length;
    this.digest = b3(message);
    if (h.size === 0) {
      if (!equal(w.root, b3(new Uint8Array()))) throw bad("content of this root is not empty");
      return;
    }
    this.decoder = new Decoder(this.kernel, w.root, h.size, span.first);
  }

  /** Up to where the content is verified. */
  get offset(): number {
    return this.decoder?.offset ?? 0;
  }

  /** Whether all that the head names is verified. */
  get complete(): boolean {
    return this.offset >= this.end;
  }

  /** Reads until bytes of content are verified; none at the end. With an error it may return
   * bytes, too: they are verified. */
  async run(): Promise<{ data: Bytes; error?: unknown }> {
    const none = new Uint8Array();
    try {
      while (!this.over) {
        const f = await within("stream", this.frame());
        switch (f.kind) {
          case kind.run:
            return await this.verify(f.body);
          case kind.ask:
            this.link.asked(parseAsk(f.body).window);
            break;
          case kind.end:
            this.over = true;
            if (!this.complete) {
              throw new ProtocolError("malformed", `it ends at byte ${this.offset} of ${this.end}`);
            }
            break;
          case kind.abort: {
            const { reason, after } = parseAbort(f.body);
            throw new RefusedError(reason, "the node ends the stream", after);
          }
          default:
            throw new ProtocolError("malformed", "a second head");
        }
      }
      return { data: none };
    } catch (err) {
      return { data: none, error: err instanceof Phased ? err : new Phased("stream", err) };
    }
  }

  /** Reads the bytes of a run and verifies them. What is verified counts, and nothing else. */
  private async verify(body: Bytes): Promise<{ data: Bytes; error?: unknown }> {
    const r = parseRun(body);
    const d = this.decoder;
    const at = this.offset;
    if (d === undefined || r.first * groupSize !== at || at >= this.end) {
      throw new ProtocolError("malformed", `a run from group ${r.first} on, at byte ${at}`);
    }
    const need = d.need(r.groups);
    if (need.nodes !== r.parents.length || at + need.data > this.end) {
      throw new Phased("verify", new ProtocolError("malformed",
        `a run of ${r.groups} groups with ${r.parents.length} bytes of parents`));
    }
    const data = new Uint8Array(need.data);
    const { got, error } = await this.input.fill(data.subarray(0, 1)).then(async (first) => {
      if (first.error !== undefined) return first;
      if (this.firstByte === 0) this.firstByte = micros(this.began);
      const rest = await this.input.fill(data.subarray(1));
      return { ...rest, got: rest.got + 1 };
    });
    if (error === undefined) return this.count(at, data, d.decode(r.parents, data));
    // The run is cut. Its whole groups are of use.
    const groups = Math.floor(got / groupSize);
    const cause = new Phased("stream", error);
    if (groups === 0) return { data: new Uint8Array(), error: cause };
    const part = d.need(groups);
    const decoded = d.decode(r.parents.subarray(0, part.nodes), data.subarray(0, part.data));
    const counted = this.count(at, data, decoded);
    return { data: counted.data, error: counted.error ?? cause };
  }

  private count(at: number, data: Bytes, x: { verified: number; error?: ProtocolError }) {
    if (x.verified > 0) {
      this.link.received(this.digest, at, x.verified, this.firstByte, micros(this.began));
    }
    const error = x.error === undefined ? undefined : new Phased("verify", x.error);
    return { data: data.subarray(0, x.verified) as Bytes, error };
  }

  /** Ends a stream of which nobody wants more, and takes what is on its way, so that it is
   * acknowledged and the client owes nothing. */
  async drain(): Promise<void> {
    try {
      if (!this.complete) {
        await this.link.calls.small("POST", "/stop", stopMessage(this.session, this.digest));
      }
      for (;;) {
        const { data, error } = await this.run();
        if (error !== undefined || data.length === 0) break;
      }
    } catch {
      // The node is gone; what came is in the records.
    } finally {
      this.close();
      this.link.acknowledge();
    }
  }

  close(): void {
    this.input?.cancel();
    if (!this.over) this.control.abort();
    this.over = true;
  }
}
