/** What a browser keeps: books, keys and configurations, in IndexedDB. */
import { provePossession } from "./ack.js";
import { type Storage } from "./book.js";
import { fromHex, hex } from "./bytes.js";
import { type FetcherConfig, type NodeConfig } from "./fetcher.js";
import { newSecretKey, publicKey } from "./keys.js";
import { parseGenesis } from "./record.js";

function request<T>(r: IDBRequest<T>): Promise<T> {
  return new Promise((done, fail) => {
    r.onsuccess = () => done(r.result);
    r.onerror = () => fail(r.error ?? new Error("IndexedDB"));
  });
}

async function open(name: string): Promise<IDBDatabase> {
  const r = indexedDB.open(name, 1);
  r.onupgradeneeded = () => r.result.createObjectStore("kept");
  return request(r);
}

/** Takes a name for this program until it ends. One key has one writer of its book. */
async function hold(name: string): Promise<void> {
  if (navigator.locks === undefined) return;
  await new Promise<void>((done, fail) => {
    navigator.locks.request(name, { signal: AbortSignal.timeout(5000) }, () => {
      done();
      return new Promise(() => undefined); // as long as this program runs
    }).catch(() => fail(new Error(`waybill: ${name} is in use by another page or worker`)));
  });
}

/** A storage in IndexedDB. With `writer`, books are kept in it, and nobody else may. */
export function indexedStorage(name = "waybill", writer = true): Storage {
  let opened: Promise<IDBDatabase> | undefined;
  const db = () => {
    opened ??= (writer ? hold(`${name} books`) : Promise.resolve()).then(() => open(name));
    opened.catch(() => { opened = undefined; });
    return opened;
  };
  return {
    async get(key) {
      const tx = (await db()).transaction("kept");
      return request(tx.objectStore("kept").get(key) as IDBRequest<string | undefined>);
    },
    async put(key, value) {
      const tx = (await db()).transaction("kept", "readwrite", { durability: "strict" });
      const done = new Promise<void>((ok, fail) => {
        tx.oncomplete = () => ok();
        tx.onabort = tx.onerror = () => fail(tx.error ?? new Error("IndexedDB"));
      });
      tx.objectStore("kept").put(value, key);
      await done;
    },
  };
}

/** What a site tells its pages. */
export interface Site {
  nodes?: NodeConfig[];
  ask?: string[]; // content ports of nodes that are asked for all nodes, in place of `nodes`
  genesis: string;
  service: number;
  owner?: string;
  payer: string; // the account key that grants are signed with
  epoch?: number; // that runs, so that a grant is renewed before it is over
}

/** What is kept of a client on a device. The key is made here, and leaves it never. */
export interface Kept extends Site {
  secret: string;
  client: number;
  until: number; // the first epoch in which the grant is over
}

const slot = "client";

/** What was kept by `join`, as a fetcher needs it; undefined before. */
export async function joined(storage: Storage): Promise<FetcherConfig | undefined> {
  const text = await storage.get(slot);
  if (text === undefined) return undefined;
  const k = JSON.parse(text) as Kept;
  return { ...k, secret: fromHex(k.secret, 32), storage };
}

/** Makes this device a client: with a key of its own, at the cost of the site. `site` is the
 * address of a Site in JSON. `grant` takes {key, proof} by POST and answers {client, until}, or
 * {error}. A client whose grant holds for the next epoch, too, is kept. */
export async function join(storage: Storage, site: string, grant: string): Promise<Kept> {
  const said = (await (await fetch(site, { cache: "no-store" })).json()) as Site;
  const text = await storage.get(slot);
  const old = text === undefined ? undefined : JSON.parse(text) as Kept;
  if (old !== undefined && old.genesis === said.genesis && old.payer === said.payer &&
    old.service === said.service && (said.epoch ?? 0) + 1 < old.until) {
    const kept = { ...old, ...said };
    await storage.put(slot, JSON.stringify(kept));
    return kept;
  }
  const secret = newSecretKey();
  const key = publicKey(secret);
  const proof = provePossession(secret, parseGenesis(said.genesis).network,
    fromHex(said.payer, 32), key);
  const response = await fetch(grant, { method: "POST", body: JSON.stringify(
    { key: hex(key), proof: hex(proof) }), headers: { "Content-Type": "application/json" } });
  const answer = (await response.json()) as { client: number; until: number; error?: string };
  if (!response.ok) throw new Error(`waybill: no grant: ${answer.error ?? response.status}`);
  const kept: Kept = { ...said, secret: hex(secret), client: answer.client, until: answer.until };
  await storage.put(slot, JSON.stringify(kept));
  return kept;
}
