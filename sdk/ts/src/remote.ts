/** A fetcher that runs in a worker: the page's side. */
import { Content, FetchError, type FetcherConfig, type FetchOptions } from "./fetcher.js";
import { type Stats } from "./link.js";
import { type WorkerStats } from "./page.js";

/** What a worker's fetcher is configured with: all that can be sent to it. */
export interface RemoteConfig extends Pick<FetcherConfig, "nodes" | "ask" | "genesis" | "client" |
  "service" | "owner" | "maxPrice" | "stall" | "patience" | "streams"> {
  secret: string; // the client's BLS key, in hexadecimal
  database?: string; // of IndexedDB, for the book; in memory without
}

/** An error on its way between worker and page. */
export interface Failure {
  message: string;
  code?: string;
  at?: { node: string; phase: string; root: string; offset: number };
  sum?: { received: number; charged: number };
}

function errorOf(f: Failure): Error {
  const cause = Object.assign(new Error(f.message), { code: f.code });
  if (f.at === undefined || f.sum === undefined) return cause;
  return new FetchError(f.at, f.sum, cause);
}

type Answer = { id: number; value: unknown; error?: Failure };
type Piece = { data?: Uint8Array; done?: boolean; error?: Failure };

export class RemoteFetcher {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, { done: (x: never) => void;
    fail: (err: Error) => void }>();
  private next = 0;

  private constructor(worker: Worker) {
    this.worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const w = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error === undefined) w?.done(data.value as never);
      else w?.fail(errorOf(data.error));
    };
    worker.onerror = (e) => {
      for (const w of this.waiting.values()) w.fail(new Error(`waybill: worker: ${e.message}`));
      this.waiting.clear();
    };
  }

  /** Starts a fetcher in a worker of the package's script for that. */
  static async start(worker: Worker, config: RemoteConfig): Promise<RemoteFetcher> {
    const r = new RemoteFetcher(worker);
    await r.call("start", config);
    return r;
  }

  private call<T>(op: string, ...args: unknown[]): Promise<T> {
    return new Promise((done, fail) => {
      const id = this.next++;
      this.waiting.set(id, { done, fail });
      this.worker.postMessage({ id, op, args });
    });
  }

  /** Fetches as a Fetcher does. */
  async fetch(ref: string, options: Omit<FetchOptions, "signal"> = {}): Promise<Content> {
    const c = await this.call<Content & { port: MessagePort }>("fetch", ref, options);
    const { port } = c;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => new Promise<void>((over) => {
        port.onmessage = ({ data }: MessageEvent<Piece>) => {
          if (data.error !== undefined) controller.error(errorOf(data.error));
          else if (data.done === true) controller.close();
          else controller.enqueue(data.data as Uint8Array);
          if (data.data === undefined) port.close();
          over();
        };
        port.postMessage("pull");
      }),
      cancel: () => port.postMessage("cancel"),
    }, { highWaterMark: 0 });
    return new Content(c.root, c.size, c.from, c.to, c.type, body);
  }

  settle(): Promise<Stats> {
    return this.call("settle");
  }

  stats(): Promise<WorkerStats> {
    return this.call("stats");
  }

  /** Settles and ends the worker. */
  async close(): Promise<Stats> {
    try {
      return await this.call<Stats>("close");
    } finally {
      this.worker.terminate();
    }
  }
}
