/** BLAKE3 and the trees of protocol section 5. */
import { blake3 } from "@noble/hashes/blake3.js";
import { type Bytes, concat, equal, utf8 } from "./bytes.js";

/** Plain BLAKE3 of something small. Content goes through a kernel. */
export const b3 = (b: Uint8Array): Bytes => blake3(b) as Bytes;

/** Keyed BLAKE3. */
export const b3k = (key: Uint8Array, b: Uint8Array): Bytes => blake3(b, { key }) as Bytes;

/** The key of a context. */
export const contextKey = (context: string): Bytes => b3(utf8(context));

/** The hashes of a kind of tree. */
export class TreeKind {
  private readonly leafKey: Bytes;
  private readonly nodeKey: Bytes;
  constructor(name: string) {
    this.leafKey = contextKey(`waybill/${name}-leaf/2`);
    this.nodeKey = contextKey(`waybill/${name}-node/2`);
  }

  leaf(entry: Uint8Array): Bytes {
    return b3k(this.leafKey, entry);
  }

  node(left: Uint8Array, right: Uint8Array): Bytes {
    return b3k(this.nodeKey, concat(left, right));
  }

  /** The root over entries; 32 zero bytes over none. */
  root(entries: Uint8Array[]): Bytes {
    let level = entries.map((e) => this.leaf(e));
    if (level.length === 0) return new Uint8Array(32);
    while (level.length > 1) {
      const above: Bytes[] = [];
      for (let i = 0; i + 1 < level.length; i += 2) above.push(this.node(level[i], level[i + 1]));
      if (level.length % 2 === 1) above.push(level[level.length - 1]);
      level = above;
    }
    return level[0];
  }

  /** Whether an audit path leads from a leaf at an index, of so many, to a root (RFC 9162, section
   * 2.1.3.2). */
  leads(root: Uint8Array, leaf: Uint8Array, index: number, count: number, path: Uint8Array[]) {
    if (!Number.isSafeInteger(index) || index < 0 || index >= count) return false;
    let at = leaf;
    let width = count;
    let i = index;
    let used = 0;
    while (width > 1) {
      const last = i === width - 1;
      if (i % 2 === 1 || !last) {
        const sibling = path[used++];
        if (sibling === undefined || sibling.length !== 32) return false;
        at = i % 2 === 1 ? this.node(sibling, at) : this.node(at, sibling);
      }
      i = Math.floor(i / 2);
      width = Math.ceil(width / 2);
    }
    return used === path.length && equal(at, root);
  }
}
