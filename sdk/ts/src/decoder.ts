/** Verifies content against its root, group by group, as it comes (protocol section 18). */
import { type Bytes, equal, ProtocolError } from "./bytes.js";
import { groupSize, groupsOf } from "./delivery.js";
import { type Kernel } from "./kernel.js";

const nodeSize = 64;

/** A value that is expected of the groups start to end - 1. */
interface Expected {
  start: number;
  end: number;
  value: Uint8Array;
}

/** Where the right child of a node begins: the left one is the largest complete tree that leaves
 * something. */
function middle(start: number, end: number): number {
  let half = 1;
  while (half * 2 < end - start) half *= 2;
  return start + half;
}

/** How many nodes of the subtree over the groups start to end - 1 lie above groups from `from` to
 * `until` - 1. */
function inside(start: number, end: number, from: number, until: number): number {
  if (end - start < 2 || until <= from || until <= start || from >= end) return 0;
  if (from <= start && end <= until) return end - start - 1;
  const m = middle(start, end);
  return 1 + inside(start, m, from, until) + inside(m, end, from, until);
}

/** What was verified of a run, and what is wrong behind it. */
export interface Decoded {
  verified: number; // bytes
  error?: ProtocolError;
}

/** Verifies content from any group on, in order. The size is shown to be right when the last group
 * is verified. */
export class Decoder {
  private readonly kernel: Kernel;
  private readonly size: number;
  private readonly groups: number;
  private next: number;
  private stack: Expected[];

  constructor(kernel: Kernel, root: Uint8Array, size: number, first: number) {
    this.kernel = kernel;
    this.size = size;
    this.groups = Math.max(1, groupsOf(size));
    if (first < 0 || first >= this.groups) throw new RangeError("beyond the content");
    this.next = first;
    this.stack = [{ start: 0, end: this.groups, value: root }];
  }

  /** Where the next group begins: what lies before it is verified. */
  get offset(): number {
    return Math.min(this.next * groupSize, this.size);
  }

  get done(): boolean {
    return this.next === this.groups;
  }

  /** How many bytes of nodes and of content the next groups have; fewer at the end. */
  need(count: number): { nodes: number; data: number } {
    const end = Math.min(this.next + count, this.groups);
    const data = Math.min(end * groupSize, this.size) - this.offset;
    let n = 0;
    for (let i = this.stack.length - 1; i >= 0 && this.stack[i].start < end; i--) {
      const s = this.stack[i];
      n += inside(s.start, s.end, Math.max(s.start, this.next), end);
    }
    return { nodes: n * nodeSize, data };
  }

  /** Verifies the next groups: their nodes, and their bytes. After an error the decoder stands
   * where `offset` says. */
  decode(nodes: Uint8Array, data: Uint8Array): Decoded {
    let count = Math.max(1, Math.ceil(data.length / groupSize));
    const need = this.need(count);
    if (this.done || need.nodes !== nodes.length || need.data !== data.length) {
      return { verified: 0, error: new ProtocolError("verify",
        `${nodes.length} bytes of parents and ${data.length} of content, where ${need.nodes} and ` +
        `${need.data} are due`) };
    }
    const above = nodes.length > 0 ? this.kernel.parents(nodes) : nodes;
    const values = this.groups === 1
      ? this.kernel.sole(data)
      : this.kernel.groups(data, this.next * (groupSize / 1024));
    let verified = 0;
    let at = 0;
    for (let i = 0; i < count; i++) {
      for (let top = this.top; top.end - top.start > 1; top = this.top) {
        const node = nodes.subarray(at * nodeSize, (at + 1) * nodeSize);
        const value = top.end - top.start === this.groups
          ? this.kernel.top(node)
          : above.subarray(32 * at, 32 * at + 32);
        if (!equal(value, top.value)) return this.mismatch(verified, "a node above");
        this.descend(node);
        at++;
      }
      if (!equal(this.top.value, values.subarray(32 * i, 32 * i + 32))) {
        return this.mismatch(verified, "the group at");
      }
      this.stack.pop();
      verified += Math.min(groupSize, data.length - verified);
      this.next++;
    }
    return { verified };
  }

  private get top(): Expected {
    return this.stack[this.stack.length - 1];
  }

  private mismatch(verified: number, what: string): Decoded {
    return { verified, error: new ProtocolError("verify",
      `${what} byte ${this.offset} does not lead to the root`) };
  }

  /** Replaces the subtree on top by those of its children that are still to come. */
  private descend(node: Uint8Array): void {
    const { start, end } = this.stack.pop() as Expected;
    const m = middle(start, end);
    const copy = node.slice() as Bytes;
    this.stack.push({ start: m, end, value: copy.subarray(32) });
    if (this.next < m) this.stack.push({ start, end: m, value: copy.subarray(0, 32) });
  }
}
