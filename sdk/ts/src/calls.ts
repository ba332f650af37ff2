/** Calls of one node: its API over plain HTTP with JSON, and who it is. */
import { type Bytes, fromHex, hex, ProtocolError } from "./bytes.js";
import { EdKey } from "./keys.js";

/** The node that a client signs for. It comes from where the client was configured, and never from
 * the server that it talks to. */
export interface Pin {
  network: Bytes;
  node: number;
  key: EdKey;
}

/** Reads a pin: network, index and key, with slashes between. */
export function parsePin(text: string): Pin {
  const m = /^([0-9a-f]{64})\/(0|[1-9][0-9]*)\/([0-9a-f]{64})$/.exec(text);
  if (m === null || Number(m[2]) >= 2 ** 32) {
    throw new ProtocolError("malformed", "a pin is network/node/key");
  }
  return { network: fromHex(m[1]), node: Number(m[2]), key: new EdKey(fromHex(m[3])) };
}

export const pinText = (p: Pin): string =>
  `${hex(p.network)}/${p.node}/${hex(p.key.bytes)}`;

/** A node refuses, or answers what a Waybill node does not. */
export class RefusedError extends Error {
  readonly code: string; // a name of the protocol, or of a status of HTTP
  readonly retryAfter: number; // milliseconds; 0: not said
  readonly detail: Json | undefined;
  constructor(code: string, message: string, retryAfter = 0, detail?: Json) {
    super(`${code}: ${message}`);
    this.name = "RefusedError";
    this.code = code;
    this.retryAfter = retryAfter;
    this.detail = detail;
  }
}

export type Json = { [name: string]: unknown };

/** Whether calling again may help: the connection broke, or the node is busy. */
export function temporary(err: unknown): boolean {
  if (err instanceof RefusedError) {
    return ["unavailable", "resource_exhausted", "deadline_exceeded", "aborted", "rate",
      "streams", "shutting_down", "stale_challenge"].includes(err.code);
  }
  return !(err instanceof ProtocolError); // fetch's own errors
}

export type FetchFunction = (input: string, init?: RequestInit) => Promise<Response>;

/** Reads why a node refused. */
export async function refusal(response: Response): Promise<RefusedError> {
  const text = await response.text().catch(() => "");
  const seconds = Number(response.headers.get("Retry-After") ?? 0);
  const after = Number.isFinite(seconds) ? 1000 * seconds : 0;
  try {
    const x = JSON.parse(text) as Json;
    if (typeof x.code !== "string") throw new Error();
    const detail = Array.isArray(x.details) ? (x.details[0]?.debug as Json) : undefined;
    return new RefusedError(x.code, String(x.message ?? x.meaning ?? ""),
      Number(x.retry_after_ms ?? 0) || after, detail);
  } catch {
    return new RefusedError(`http_${response.status}`, "not an answer of a node", after);
  }
}

/** What the node says of epochs. */
export interface EpochInfo {
  network: string;
  node: number;
  nodeKey: string;
  epoch: number;
  record: Bytes;
  certificate: Bytes;
  beforeTaken: number; // milliseconds
}

const maxAnswer = 1 << 20;

/** One node's doors. */
export class Calls {
  readonly url: string;
  readonly pin: Pin;
  readonly fetch: FetchFunction;
  private readonly patience: number;
  constructor(url: string, pin: Pin, fetch?: FetchFunction, patience = 10_000) {
    this.url = url.replace(/\/+$/, "");
    this.pin = pin;
    this.fetch = fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.patience = patience;
  }

  /** The same node's doors at another address. */
  at(url: string): Calls {
    return new Calls(url, this.pin, this.fetch, this.patience);
  }

  private within(signal?: AbortSignal): AbortSignal {
    const limit = AbortSignal.timeout(this.patience);
    return signal === undefined ? limit : AbortSignal.any([signal, limit]);
  }

  /** Calls a procedure of the API. */
  async api(service: string, method: string, request: Json, signal?: AbortSignal): Promise<Json> {
    const response = await this.fetch(`${this.url}/waybill.v1.${service}/${method}`, {
      method: "POST", body: JSON.stringify(request), signal: this.within(signal),
      headers: { "Content-Type": "application/json", "Connect-Protocol-Version": "1" },
    });
    if (!response.ok) throw await refusal(response);
    return (await response.json()) as Json;
  }

  /** Asks for the hand-overs between committees, from a term on. */
  terms(first: number): Promise<Bytes> {
    return exportTerms(this.url, first, this.fetch);
  }

  /** A small call of the port for content. */
  async small(method: "GET" | "POST", path: string, body?: Bytes,
    signal?: AbortSignal): Promise<Response> {
    const response = await this.fetch(this.url + path,
      { method, body: body ?? null, signal: this.within(signal) });
    if (!response.ok) throw await refusal(response);
    return response;
  }

  /** Asks which epoch acks are taken for, and what shows it. */
  async epoch(signal?: AbortSignal): Promise<EpochInfo> {
    const stop = new AbortController();
    const request = new Uint8Array([0, 0, 0, 0, 2, 0x7b, 0x7d]); // a frame with {}
    const response = await this.fetch(`${this.url}/waybill.v1.IngestService/FollowEpochs`, {
      method: "POST", body: request,
      signal: AbortSignal.any([this.within(signal), stop.signal]),
      headers: { "Content-Type": "application/connect+json", "Connect-Protocol-Version": "1" },
    });
    if (!response.ok || response.body === null) throw await refusal(response);
    const reader = response.body.getReader();
    try {
      let got = new Uint8Array();
      for (;;) {
        const size = got.length < 5 ? 0 : new DataView(got.buffer).getUint32(1);
        if (size > maxAnswer) throw new RefusedError("malformed", "an answer without bounds");
        if (got.length >= 5 && got.length >= 5 + size) {
          return epochOf(got[0], got.subarray(5, 5 + size));
        }
        const { value, done } = await reader.read();
        if (done) throw new RefusedError("malformed", "an answer that ends early");
        const more = new Uint8Array(got.length + value.length);
        more.set(got);
        more.set(value, got.length);
        got = more;
      }
    } finally {
      stop.abort();
      reader.cancel().catch(() => undefined);
    }
  }
}

const bytesOf = (v: unknown): Bytes =>
  Uint8Array.from(atob(String(v ?? "")), (c) => c.charCodeAt(0));

/** Asks a node for the hand-overs between committees, from a term on. */
export async function exportTerms(url: string, first: number,
  fetch: FetchFunction): Promise<Bytes> {
  const response = await fetch(`${url}/waybill.v1.LedgerService/ExportTerms`, {
    method: "POST", body: JSON.stringify({ first }), signal: AbortSignal.timeout(60_000),
    headers: { "Content-Type": "application/json", "Connect-Protocol-Version": "1" },
  });
  if (!response.ok) throw await refusal(response);
  return bytesOf(((await response.json()) as Json).file);
}

function epochOf(flags: number, message: Uint8Array): EpochInfo {
  const x = JSON.parse(new TextDecoder().decode(message)) as Json;
  if ((flags & 2) !== 0) {
    const e = (x.error ?? {}) as Json;
    throw new RefusedError(String(e.code ?? "unknown"), String(e.message ?? "no epoch"));
  }
  return { network: String(x.network ?? ""), node: Number(x.node ?? 0),
    nodeKey: String(x.nodeKey ?? x.node_key ?? ""), epoch: Number(x.epoch ?? 0),
    record: bytesOf(x.record), certificate: bytesOf(x.certificate),
    beforeTaken: Number(x.beforeTakenMs ?? x.before_taken_ms ?? 0) };
}
