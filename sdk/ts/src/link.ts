/** A fetcher's session at one node, and the acks of what came from there. */
import { answerNamed, ackFrame, ackMessage, type Ack, answersMessage, parseAck } from "./ack.js";
import { type Book, type Numbered } from "./book.js";
import { type Bytes, equal, fromHex, hex, ProtocolError } from "./bytes.js";
import { type Calls, type Json, RefusedError, temporary } from "./calls.js";
import { maxRecords, openMessage, type Record, requestOf, sessionMessage } from "./delivery.js";
import { blsVerify } from "./keys.js";
import { termOf, verifyRecord } from "./record.js";
import { type Signer } from "./signer.js";
import { type Terms } from "./terms.js";

/** Bytes of content, counted. */
export interface Stats {
  received: number; // and verified
  signed: number; // acks were signed for
  charged: number; // the nodes hold acks for
  refused: number; // will not be paid for, since the acks were refused
  acks: number;
}

export const noStats = (): Stats =>
  ({ received: 0, signed: 0, charged: 0, refused: 0, acks: 0 });

export interface LinkOptions {
  calls: Calls;
  signer: Signer;
  book: Book;
  terms: Terms;
  client: number;
  service: number;
  cap: () => number;
  patience: number;
}

const lazyAck = 500; // ms that what was received may go without an ack when nobody asks
const freshEpoch = 3000; // ms after which the node is asked again which epoch runs
const maxUnshown = 4;
const maxWindow = 8 << 20;

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

export class Link {
  calls: Calls;
  readonly stats: Stats = noStats();
  private readonly o: LinkOptions;
  private session: { id: Bytes; opened: Promise<void> } | undefined;
  private window = 0; // that the node sends ahead of acks, as far as is known
  private grown = 0; // acknowledged since it last grew
  private records: Record[] = [];
  private bytes = 0;
  private lazy: ReturnType<typeof setTimeout> | undefined;
  private pump: Promise<void> | undefined;
  private due = false; // an ack is, of all records at hand
  private adopted = false; // nothing is pending in the book but what is being submitted
  private own = new Set<string>(); // entries of this program that have no last word
  private shown = { epoch: 0, height: 0, at: -Infinity, sign: 0 };
  /** Why acks could not be handed over last. They are in the book. */
  error: unknown;

  constructor(o: LinkOptions) {
    this.o = o;
    this.calls = o.calls;
  }

  /** Follows the node to another address. */
  move(url: string): void {
    if (this.calls.url !== url.replace(/\/+$/, "")) this.calls = this.calls.at(url);
  }

  /** Opens a session, unless one is open. With a session's name it opens one in its place. */
  async open(over?: Bytes): Promise<Bytes> {
    const now = this.session;
    if (now !== undefined && (over === undefined || !equal(now.id, over))) {
      await now.opened;
      return now.id;
    }
    const id = crypto.getRandomValues(new Uint8Array(16));
    const next = { id, opened: this.opened(id) };
    this.session = next;
    try {
      await next.opened;
    } catch (err) {
      if (this.session === next) this.session = undefined;
      throw err;
    }
    return id;
  }

  private async opened(id: Bytes): Promise<void> {
    const { pin } = this.calls;
    const c = (await (await this.calls.small("GET", "/session")).json()) as Json;
    this.pinned(String(c.network), Number(c.node), String(c.node_key));
    if (Number(c.epoch) < await this.o.book.epoch()) {
      throw new ProtocolError("epoch_backwards", `epoch ${c.epoch}`);
    }
    const session = { network: pin.network, node: pin.node, client: this.o.client,
      epoch: Number(c.epoch), id, challenge: fromHex(String(c.challenge), 32) };
    const signature = await this.o.signer.sign(sessionMessage(session));
    const answer = await this.calls.small("POST", "/session", openMessage(session, signature));
    this.window = Number(((await answer.json()) as Json).window);
    this.grown = 0;
  }

  private pinned(network: string, node: number, key: string): void {
    const { pin } = this.calls;
    if (network !== hex(pin.network)) throw new ProtocolError("other_network", network);
    if (node !== pin.node) throw new ProtocolError("other_node", `${node}, not ${pin.node}`);
    if (key !== hex(pin.key.bytes)) throw new ProtocolError("other_key", key);
  }

  /** The height of the newest block that is known to be certified. */
  get height(): number {
    return this.shown.height;
  }

  /** The newest epoch that a certified record shows. */
  get epoch(): number {
    return this.shown.epoch;
  }

  /** The epoch that was signed in last: heads of earlier ones are not taken. */
  bookEpoch(): Promise<number> {
    return this.o.book.epoch();
  }

  /** Notes bytes that were received and verified. */
  received(head: Uint8Array, from: number, n: number, firstByte: number, duration: number): void {
    this.stats.received += n;
    this.bytes += n;
    const last = this.records[this.records.length - 1];
    if (last !== undefined && equal(last.head, head) && last.from + last.bytes === from) {
      last.bytes += n;
      last.duration = duration;
    } else {
      this.records.push({ head, from, bytes: n, height: this.height, firstByte, duration });
    }
    if (2 * this.bytes >= this.window || this.bytes >= this.o.cap() ||
      this.records.length >= maxRecords) {
      this.acknowledge();
    } else if (this.lazy === undefined) {
      this.lazy = setTimeout(() => this.acknowledge(), lazyAck);
    }
  }

  /** Takes what a node says of its window, and acknowledges. */
  asked(window: number): void {
    this.window = window;
    this.acknowledge();
  }

  /** Has what was received acknowledged: at once, or with what comes until the ack before is
   * answered. */
  acknowledge(): void {
    clearTimeout(this.lazy);
    this.lazy = undefined;
    this.due = true;
    if (this.pump === undefined) {
      this.pump = this.deliver().then(() => { this.error = undefined; },
        (err: unknown) => { this.error = err; }).finally(() => { this.pump = undefined; });
    }
  }

  /** Acknowledges all and waits for the answers. It throws why some are missing. */
  async settle(): Promise<void> {
    do {
      this.acknowledge();
      await this.pump;
      if (this.error !== undefined) throw this.error;
    } while (this.records.length > 0);
  }

  private async deliver(): Promise<void> {
    if (!this.adopted) {
      for (const e of await this.o.book.pending()) await this.submit(e);
      this.adopted = true;
    }
    try {
      while (this.due) {
        this.due = false;
        // What comes meanwhile waits until an ack is due again: one covers more then.
        for (let left = this.bytes; left > 0 && this.records.length > 0;) left -= await this.ack();
      }
    } catch (err) {
      this.adopted = false;
      throw err;
    }
  }

  /** Acknowledges what one ack may cover, and returns how many bytes that were. */
  private async ack(): Promise<number> {
    const epoch = await this.signingEpoch();
    const { now, rest, units } = cut(this.records, this.o.cap());
    this.records = rest;
    this.bytes -= units;
    const request = requestOf(now);
    let entry: Numbered | undefined;
    try {
      entry = await this.o.book.give(epoch, units, request, (e) => this.counter(e));
    } catch (err) {
      this.records = [...now, ...this.records]; // nothing is signed
      this.bytes += units;
      throw err;
    }
    if (entry === undefined) {
      this.stats.refused += units;
      throw new ProtocolError("beyond_limit", "no number is left in this epoch");
    }
    this.stats.signed += units;
    this.stats.acks++;
    this.own.add(nameOf(entry));
    await this.submit(entry);
    return units;
  }

  private async counter(epoch: number): Promise<number> {
    const x = await this.calls.api("IngestService", "Counter",
      { epoch, clients: [String(this.o.client)], services: [this.o.service] });
    const next = Number((x.next as unknown[] | undefined)?.[0] ?? 0);
    if (!Number.isSafeInteger(next) || next < 0 || next > 2 ** 32) {
      throw new ProtocolError("malformed", `counter ${next}`);
    }
    return next;
  }

  /** The epoch to sign for: one that a certified record shows. */
  private async signingEpoch(): Promise<number> {
    if (performance.now() - this.shown.at > freshEpoch) await this.showEpoch();
    const until = performance.now() + this.o.patience;
    while (this.shown.sign < 0) { // it has begun and is not shown yet
      if (performance.now() > until) {
        throw new ProtocolError("not_shown", "the node does not show the epoch that it names");
      }
      await pause(250);
      await this.showEpoch();
    }
    return this.shown.sign;
  }

  /** Asks the node which epoch runs, and has it shown. */
  async showEpoch(): Promise<void> {
    const e = await this.calls.epoch();
    this.pinned(e.network, e.node, e.nodeKey);
    let { epoch, height } = this.shown;
    if (e.record.length > 0) {
      await this.o.terms.follow(termOf(e.record), (first) => this.calls.terms(first));
      const r = verifyRecordOnce(e.record, e.certificate, this.o.terms);
      if (r.height >= height) ({ epoch, height } = r);
    }
    if (e.epoch < await this.o.book.epoch()) {
      throw new ProtocolError("epoch_backwards", `epoch ${e.epoch}`);
    }
    if (e.epoch > epoch + maxUnshown) {
      throw new ProtocolError("epoch_ahead", `epoch ${e.epoch}, where ${epoch} is shown`);
    }
    let sign = epoch;
    if (epoch < e.epoch) {
      // As long as there is time to get there: what is not signed yet is not lost.
      sign = epoch + 1 === e.epoch && e.beforeTaken > 20_000 &&
        epoch >= await this.o.book.epoch() ? epoch : -1;
    }
    this.shown = { epoch, height, at: performance.now(), sign };
  }

  /** Signs and submits until there is a last word. */
  private async submit(entry: Numbered): Promise<void> {
    const { pin } = this.calls;
    const ack: Ack = { network: pin.network, epoch: entry.epoch, node: pin.node,
      client: this.o.client, service: this.o.service, number: entry.number, units: entry.units,
      request: entry.request };
    const signature = await this.o.signer.sign(ackMessage(ack));
    const frame = ackFrame(ack, signature);
    const until = performance.now() + this.o.patience;
    for (let wait = 100; ; wait = Math.min(2 * wait, 5000)) {
      let said: Said;
      try {
        said = await this.said(ack, frame, signature);
      } catch (err) {
        if (!temporary(err) || performance.now() > until) throw err;
        await pause(Math.max(wait, err instanceof RefusedError ? err.retryAfter : 0));
        continue;
      }
      switch (said.class) {
        case "taken":
          await this.o.book.settle(entry);
          if (this.own.delete(nameOf(entry))) this.stats.charged += entry.units;
          this.grow(entry.units);
          return;
        case "not_now":
          if (performance.now() > until) {
            throw new RefusedError(said.name, "the node did not take it in time");
          }
          await pause(Math.max(wait, said.retryAfter));
          break;
        default:
          await this.refused(entry, said);
          return;
      }
    }
  }

  /** Follows the node's window, which an ack makes grow: what is small is acknowledged the more
   * rarely, the more was paid. Asks say what it is. */
  private grow(units: number): void {
    this.grown += units;
    if (this.window < maxWindow && 2 * this.grown >= this.window) {
      this.window = Math.min(2 * this.window, maxWindow);
      this.grown = 0;
    }
  }

  /** Lets go of a delivery that the node never takes. When the node holds another ack of this
   * client under the number, the smaller one of the two is signed once more. */
  private async refused(entry: Numbered, said: Said): Promise<void> {
    const used = said.name === "number_used";
    const count = this.own.delete(nameOf(entry));
    await this.o.book.settle(entry, used);
    if (said.name === "past_epoch") this.shown.at = -Infinity;
    const held = used && count ? this.held(entry, said.held) : 0;
    if (held > 0) {
      const units = Math.min(held, entry.units);
      const again = await this.o.book.give(await this.signingEpoch(), units, entry.request,
        (e) => this.counter(e));
      this.stats.refused += entry.units - units;
      if (again !== undefined) {
        this.own.add(nameOf(again));
        return this.submit(again);
      }
    } else if (count) {
      this.stats.refused += entry.units;
    }
    if (said.class === "faulty") throw new RefusedError(said.name, "the node refused an ack");
  }

  /** The units of the ack that the node holds under a number, if the client did sign that. */
  private held(entry: Numbered, frame: string): number {
    try {
      const { network } = this.calls.pin;
      const { ack, signature } = parseAck(fromHex(frame, 128), network);
      const own = ack.epoch === entry.epoch && ack.number === entry.number &&
        ack.client === this.o.client && ack.service === this.o.service &&
        ack.node === this.calls.pin.node && !equal(ack.request, entry.request);
      return own && blsVerify(this.o.signer.publicKey, ackMessage(ack), signature) ? ack.units : 0;
    } catch {
      return 0;
    }
  }

  /** Submits one ack and returns what the node said, under its word. */
  private async said(ack: Ack, frame: Bytes, signature: Uint8Array): Promise<Said> {
    const body = { ack: { network: hex(ack.network), epoch: ack.epoch, node: ack.node,
      client: String(ack.client), service: ack.service, number: ack.number,
      units: String(ack.units), request: hex(ack.request), signature: hex(signature) } };
    let x: Json;
    try {
      x = await this.calls.api("IngestService", "SubmitAck", body);
    } catch (err) {
      if (!(err instanceof RefusedError) || typeof err.detail?.code !== "string") throw err;
      x = err.detail;
    }
    const answer = answerNamed(String(x.code));
    if (answer === undefined) throw new ProtocolError("malformed", `an answer ${x.code}`);
    const { pin } = this.calls;
    const said = answersMessage(pin.network, pin.node, ack.epoch, Number(x.height ?? 0),
      [{ frame, code: answer.code, arg: Number(x.arg ?? 0) }]);
    const word = fromHex(String(x.signature ?? ""));
    if (word.length !== 64 || !(await pin.key.verify(said, word))) {
      throw new ProtocolError("answer_signature", `to an ack: ${answer.name}`);
    }
    return { name: answer.name, class: answer.class, held: String(x.held ?? ""),
      retryAfter: Number(x.retryAfterMs ?? x.retry_after_ms ?? 0) };
  }

  close(): void {
    clearTimeout(this.lazy);
  }
}

const nameOf = (e: Numbered) => `${e.epoch}/${e.number}`;

interface Said {
  name: string;
  class: string;
  held: string;
  retryAfter: number;
}

let lastRecord: { key: string; value: ReturnType<typeof verifyRecord> } | undefined;

/** Verifies a record, unless it was the last one: that takes some milliseconds. */
function verifyRecordOnce(record: Bytes, certificate: Bytes, terms: Terms) {
  const key = hex(record) + hex(certificate) + hex(terms.genesis.network);
  if (lastRecord?.key !== key) {
    lastRecord = { key, value: verifyRecord(record, certificate, terms) };
  }
  return lastRecord.value;
}

/** The first records, which one ack may cover: of up to so many bytes. A record may end in the
 * middle; then the rest begins with its other part. */
export function cut(records: Record[], most: number): { now: Record[]; rest: Record[];
  units: number } {
  const now: Record[] = [];
  let units = 0;
  for (let i = 0; i < records.length; i++) {
    const r = records[i];
    const room = most - units;
    if (i === maxRecords || room <= 0) return { now, rest: records.slice(i), units };
    if (r.bytes > room) {
      now.push({ ...r, bytes: room });
      const other = { ...r, from: r.from + room, bytes: r.bytes - room };
      return { now, rest: [other, ...records.slice(i + 1)], units: units + room };
    }
    now.push(r);
    units += r.bytes;
  }
  return { now, rest: [], units };
}
