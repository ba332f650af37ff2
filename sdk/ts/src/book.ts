/** The client's book: what it signed under which number, decided and durable before it signs
 * (protocol section 4). */
import { fromHex, hex } from "./bytes.js";
import { pinText, type Pin } from "./calls.js";

/** Where a book is kept. What `put` has put is there after a crash. */
export interface Storage {
  get(key: string): Promise<string | undefined>;
  put(key: string, value: string): Promise<void>;
}

/** A storage that is lost with the program: what is under way then stays unpaid. */
export function memoryStorage(): Storage {
  const kept = new Map<string, string>();
  return {
    get: async (key) => kept.get(key),
    put: async (key, value) => void kept.set(key, value),
  };
}

/** A delivery under its number. */
export interface Numbered {
  epoch: number;
  number: number;
  units: number;
  request: Uint8Array;
}

interface Lane {
  next: number;
  asked: boolean; // next is above all that an earlier book may have given
  pending: [number: number, units: number, request: string][];
}

interface Page {
  born: number; // the first epoch that was signed in; -1 before
  epoch: number; // of the latest number; it moves forward only
  lanes: { [epoch: string]: Lane };
}

/** What one client signs for one service at one node. One key has one book and one writer. */
export class Book {
  private readonly storage: Storage;
  private readonly key: string;
  private page: Page | undefined;

  constructor(storage: Storage, pin: Pin, client: number, service: number) {
    this.storage = storage;
    this.key = `${pinText(pin)}/${client}/${service}`;
  }

  private async read(): Promise<Page> {
    if (this.page === undefined) {
      const text = await this.storage.get(this.key);
      this.page = text === undefined ? { born: -1, epoch: 0, lanes: {} } : JSON.parse(text) as Page;
    }
    return this.page;
  }

  private async write(): Promise<void> {
    try {
      await this.storage.put(this.key, JSON.stringify(this.page));
    } catch (err) {
      this.page = undefined; // what is kept is what counts
      throw err;
    }
  }

  /** The epoch that was signed in last. */
  async epoch(): Promise<number> {
    return (await this.read()).epoch;
  }

  /** Gives a delivery its number. `counter` asks the node for its next one, where an earlier book
   * of the same key may have given some. Undefined when there is no number left. */
  async give(epoch: number, units: number, request: Uint8Array,
    counter: (epoch: number) => Promise<number>): Promise<Numbered | undefined> {
    const page = await this.read();
    if (epoch < page.epoch) throw new RangeError("an epoch before one that was signed in");
    const born = page.born < 0 ? epoch : page.born;
    let lane = page.lanes[epoch];
    if (lane === undefined) {
      lane = { next: 0, asked: epoch > born + 1, pending: [] };
    }
    if (!lane.asked) {
      lane.next = Math.max(lane.next, await counter(epoch));
      lane.asked = true;
    }
    if (lane.next >= 2 ** 32 - 1) return undefined;
    const entry = { epoch, number: lane.next, units, request };
    lane.pending.push([entry.number, units, hex(request)]);
    lane.next++;
    page.born = born;
    page.epoch = epoch;
    page.lanes[epoch] = lane;
    for (const e of Object.keys(page.lanes)) {
      if (Number(e) + 4 < epoch && page.lanes[e].pending.length === 0) delete page.lanes[e];
    }
    await this.write();
    return entry;
  }

  /** What has a number and no last word, in order. */
  async pending(): Promise<Numbered[]> {
    const { lanes } = await this.read();
    return Object.keys(lanes).map(Number).sort((a, b) => a - b).flatMap((epoch) =>
      lanes[epoch].pending.map(([number, units, request]) =>
        ({ epoch, number, units, request: fromHex(request, 32) })));
  }

  /** Notes a last word. */
  async settle(entry: Numbered, askAgain = false): Promise<void> {
    const lane = (await this.read()).lanes[entry.epoch];
    if (lane === undefined) return;
    lane.pending = lane.pending.filter(([number]) => number !== entry.number);
    if (askAgain) lane.asked = false;
    await this.write();
  }
}
