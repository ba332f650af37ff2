/** A service worker through which a page's own images and films go: what is under a prefix is
 * fetched from nodes, verified and paid for. It runs beside pages, so signing stalls none. */
import { indexedStorage, joined } from "./browser.js";
import { type Content, FetchError, Fetcher, type FetchOptions } from "./fetcher.js";
import { type LocalSigner } from "./signer.js";

declare const self: ServiceWorkerGlobalScope;

interface ServiceWorkerGlobalScope {
  readonly location: Location;
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: string, listener: (event: never) => void): void;
}

interface ExtendableEvent {
  waitUntil(work: Promise<unknown>): void;
}

interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

interface MessageEventOf extends ExtendableEvent {
  readonly data: unknown;
  readonly ports: readonly MessagePort[];
}

// Under which paths of the page's origin the site stands: ?prefix= of the worker's address.
const prefix = new URL(self.location.href).searchParams.get("prefix") ?? "/w/";

const storage = indexedStorage();
let fetcher: Promise<Fetcher> | undefined;

const kept = indexedStorage("waybill", false);

async function make(): Promise<Fetcher> {
  const config = await joined(kept);
  if (config === undefined) throw new Error("this device is no client yet: join first");
  return new Fetcher({ ...config, storage });
}

/** Takes what a page has joined as, if that is something else than before. */
async function rejoin(): Promise<void> {
  const before = fetcher === undefined ? undefined : await fetcher;
  const now = await joined(kept);
  const same = (x: unknown) => JSON.stringify(x, (key, value: unknown) =>
    key === "storage" ? undefined : value);
  if (before !== undefined && same(before.config) === same(now)) return;
  fetcher = undefined;
  await before?.settle().catch(() => undefined); // what is left is in the book
  await current();
}

function current(): Promise<Fetcher> {
  fetcher ??= make().catch((err: unknown) => {
    fetcher = undefined;
    throw err;
  });
  return fetcher;
}

/** Reads a Range: one range, or undefined for what is none. */
export function rangeOf(text: string | null, size: number): FetchOptions | undefined {
  const m = /^bytes=(\d*)-(\d*)$/.exec(text ?? "");
  if (m === null || (m[1] === "" && m[2] === "")) return undefined;
  if (m[1] === "") return { from: Math.max(0, size - Number(m[2])), to: size };
  return { from: Number(m[1]), to: m[2] === "" ? size : Math.min(size, Number(m[2]) + 1) };
}

function failed(err: unknown): Response {
  const e = err instanceof FetchError
    ? { code: err.code, node: err.node, phase: err.phase, offset: err.offset,
      received: err.received, charged: err.charged, message: err.message }
    : { code: "failed", message: String(err) };
  const status = e.code === "not_found" ? 404 : e.code === "range" ? 416 : 502;
  return new Response(JSON.stringify(e),
    { status, headers: { "Content-Type": "application/json" } });
}

async function answer(request: Request, path: string): Promise<Response> {
  try {
    const f = await current();
    const entry = await f.entry(path);
    const text = request.headers.get("Range");
    const range = rangeOf(text, entry.size);
    if (range !== undefined && (range.from as number) >= entry.size) {
      return new Response(null, { status: 416,
        headers: { "Content-Range": `bytes */${entry.size}` } });
    }
    const content: Content = await f.fetch(path, { ...range, signal: request.signal });
    const response = content.response();
    if (range === undefined || response.status === 206) return response;
    // All of it, to somebody who asked for a range.
    return new Response(response.body, { status: 206, headers: { "Content-Type": content.type,
      "Content-Length": String(content.size), "Accept-Ranges": "bytes",
      "Content-Range": `bytes 0-${content.size - 1}/${content.size}` } });
  } catch (err) {
    return failed(err);
  }
}

self.addEventListener("install", (event: ExtendableEvent) => {
  event.waitUntil(self.skipWaiting());
});

self.addEventListener("activate", (event: ExtendableEvent) => {
  event.waitUntil(self.clients.claim());
});

self.addEventListener("fetch", (event: FetchEvent) => {
  const url = new URL(event.request.url);
  if (url.origin !== self.location.origin || !url.pathname.startsWith(prefix) ||
    event.request.method !== "GET") return;
  const path = `/${decodeURIComponent(url.pathname.slice(prefix.length))}`;
  event.respondWith(answer(event.request, path));
});

/** What a page may ask: {waybill: "joined"} after a join, "settle", or "stats". The answer comes
 * through the port that it sends along. */
async function told(what: unknown): Promise<unknown> {
  if (what === "joined") {
    await rejoin();
    return {};
  }
  const f = await current();
  switch (what) {
    case "settle":
      await f.settle();
      break;
    case "stats":
      break;
    default:
      throw new Error(`unknown: ${String(what)}`);
  }
  const { signatures, milliseconds } = f.signer as LocalSigner;
  return { ...f.stats(), signatures, milliseconds };
}

self.addEventListener("message", (event: MessageEventOf) => {
  const { waybill } = (event.data ?? {}) as { waybill?: unknown };
  if (waybill === undefined || event.ports.length === 0) return;
  event.waitUntil(told(waybill).then(
    (value) => event.ports[0].postMessage({ value }),
    (err: unknown) => event.ports[0].postMessage({ error: String(err) })));
});
