/** What stands under which path of a site, and what shows it (protocol section 19). */
import { type Bytes, compare, ProtocolError, Reader, utf8, Writer } from "./bytes.js";
import { edVerifySync } from "./keys.js";
import { b3k, contextKey, TreeKind } from "./tree.js";

/** What is signed of a manifest. */
export interface ManifestHead {
  network: Bytes;
  service: number;
  serial: number;
  until: number;
  count: number;
  root: Bytes;
}

/** What stands under a path. */
export interface Entry {
  path: string;
  root: Bytes;
  size: number;
  life: number; // seconds for which it may be kept without asking again
  type: string;
}

/** An entry with its way to the root. */
export interface Shown {
  entry: Entry;
  index: number;
  path: Bytes[];
}

const tree = new TreeKind("manifest");
const manifestKey = contextKey("waybill/manifest/2");
const pathKey = contextKey("waybill/path/2");

export const manifestHeadBytes = (h: ManifestHead): Bytes =>
  new Writer().tag("wb-man/2").raw(h.network, 32).u32(h.service).u64(h.serial).u32(h.until)
    .u32(h.count).raw(h.root, 32).end();

export const entryBytes = (e: Entry): Bytes => {
  const path = utf8(e.path);
  const type = utf8(e.type);
  return new Writer().u16(path.length).raw(path).raw(e.root, 32).u64(e.size).u32(e.life)
    .u8(type.length).raw(type).end();
};

/** The digest by which a head of a stream names a manifest. */
export const manifestDigest = (h: ManifestHead): Bytes => b3k(manifestKey, manifestHeadBytes(h));

/** The digest by which a head of a stream names a path. */
export const pathDigest = (path: string): Bytes => b3k(pathKey, utf8(path));

const refuse = (code: string, why: string) => new ProtocolError(code, why);

/** Sees that a path is clean: there is one way to write it. */
export function checkPath(path: string): void {
  const bad = () => refuse("path", JSON.stringify(path));
  if (path.length === 0 || path[0] !== "/" || utf8(path).length > 1024) throw bad();
  if (/\p{Surrogate}/u.test(path)) throw bad();
  if (/[\p{Cc}\p{Cf}\ufffd\\?#%]/u.test(path)) throw bad();
  const segments = path.slice(1).split("/");
  segments.forEach((s, i) => {
    if ((s === "" && i < segments.length - 1) || s === "." || s === "..") throw bad();
  });
}

const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const lower = "[!#$%&'*+\\-.^_`|~0-9a-z]+";
const mediaType = new RegExp(`^${lower}/${lower}(; ${lower}=${token})*$`);

/** Sees that a media type is one. */
export function checkType(type: string): void {
  if (type.length > 127 || !mediaType.test(type)) throw refuse("type", JSON.stringify(type));
}

function checkEntry(e: Entry): void {
  checkPath(e.path);
  checkType(e.type);
  if (e.size > 2 ** 50) throw refuse("size", `${e.size} bytes under ${e.path}`);
}

const text = new TextDecoder("utf-8", { fatal: true });

function readEntry(r: Reader): Entry {
  const read = (b: Uint8Array) => {
    try {
      return text.decode(b);
    } catch {
      return r.fail("not UTF-8");
    }
  };
  return { path: read(r.raw(r.u16())), root: r.raw(32), size: r.u64(), life: r.u32(),
    type: read(r.raw(r.u8())) };
}

function readHead(r: Reader): ManifestHead {
  r.tag("wb-man/2");
  return { network: r.raw(32), service: r.u32(), serial: r.u64(), until: r.u32(), count: r.u32(),
    root: r.raw(32) };
}

/** A manifest with all its entries. */
export interface Manifest {
  head: ManifestHead;
  signature: Bytes;
  entries: Entry[];
}

/** Decodes a manifest: entries in order, and the root over them. The signature is not looked at:
 * see verifyManifest. */
export function parseManifest(b: Uint8Array): Manifest {
  const r = new Reader(b, "a manifest");
  const head = readHead(r);
  const signature = r.raw(64);
  if (head.count < 1 || head.count > 2 ** 20) r.fail(`${head.count} entries`);
  const entries: Entry[] = [];
  for (let i = 0; i < head.count; i++) {
    const e = readEntry(r);
    checkEntry(e);
    if (i > 0 && compare(utf8(entries[i - 1].path), utf8(e.path)) >= 0) {
      throw refuse("order", `${e.path} behind ${entries[i - 1].path}`);
    }
    entries.push(e);
  }
  r.end();
  const root = tree.root(entries.map(entryBytes));
  if (compare(root, head.root) !== 0) throw refuse("root", "the entries have another root");
  return { head, signature, entries };
}

/** Sees that a manifest is a network's and a service's, holds in an epoch, and is signed by the
 * account that owns the service. */
export function verifyManifest(m: Pick<Manifest, "head" | "signature">, network: Uint8Array,
  service: number, epoch: number, owner: Uint8Array): void {
  const h = m.head;
  if (compare(h.network, network) !== 0) throw refuse("network", "another network's");
  if (h.service !== service) throw refuse("service", `${h.service}, not ${service}`);
  if (h.until !== 2 ** 32 - 1 && epoch >= h.until) throw refuse("expired", `in epoch ${h.until}`);
  if (!edVerifySync(owner, manifestHeadBytes(h), m.signature)) {
    throw refuse("signature", `of the owner of service ${service}`);
  }
}

/** Says what a manifest has under a path, from what shows it: an entry, or undefined, which is
 * shown as well. */
export function resolve(h: ManifestHead, path: string, shown: Shown[]): Entry | undefined {
  checkPath(path);
  const bad = (why: string) => refuse("proof", `${path}: ${why}`);
  if (shown.length < 1 || shown.length > 2) throw bad(`${shown.length} entries`);
  for (const s of shown) {
    checkEntry(s.entry);
    if (!tree.leads(h.root, tree.leaf(entryBytes(s.entry)), s.index, h.count, s.path)) {
      throw bad("an entry that is not under the root");
    }
  }
  const first = shown[0];
  const last = shown[shown.length - 1];
  if (shown.length === 1 && first.entry.path === path) return first.entry;
  const at = utf8(path);
  const before = compare(utf8(first.entry.path), at) < 0;
  const after = compare(utf8(last.entry.path), at) > 0;
  if (shown.length === 2 ? before && after && first.index + 1 === last.index
    : (after && first.index === 0) || (before && first.index + 1 === h.count)) {
    return undefined;
  }
  throw bad("it could stand elsewhere");
}
