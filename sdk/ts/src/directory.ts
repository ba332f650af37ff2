/** Finds the nodes of a network: by a list that the committee signed for, from whichever node gives
 * one. Where a node is, the giver says; who signs there is checked with all that comes from it. */
import { fromHex, hex } from "./bytes.js";
import { exportTerms, type FetchFunction, type Json, refusal } from "./calls.js";
import { type NodeConfig } from "./fetcher.js";
import { eligible, genesisNodes, listTerm, parseNodeList, type RegisteredNode } from "./route.js";
import { type Terms } from "./terms.js";

const refresh = 60_000; // ms

export class Directory {
  private readonly terms: Terms;
  private readonly ask: string[];
  private readonly fetch: FetchFunction;
  private nodes: RegisteredNode[];
  private epoch = 0;
  private height = -1;
  private urls = new Map<number, string>();
  private at = -Infinity;
  private asking: Promise<void> | undefined;

  /** `ask` are the content ports of nodes that are asked; any will do. */
  constructor(terms: Terms, ask: string[], fetch: FetchFunction) {
    this.terms = terms;
    this.ask = ask.map((url) => url.replace(/\/+$/, ""));
    this.fetch = fetch;
    this.nodes = genesisNodes(terms.genesis);
  }

  /** The nodes that may serve and that answer, where they are. */
  async list(): Promise<NodeConfig[]> {
    if (performance.now() - this.at > refresh) {
      this.asking ??= this.askAll().finally(() => { this.asking = undefined; });
      if (this.urls.size === 0) await this.asking;
      else this.asking.catch(() => undefined); // what is known is good enough for now
    }
    const { genesis } = this.terms;
    return eligible(this.nodes, this.epoch, genesis)
      .filter((n) => this.urls.has(n.node))
      .map((n) => ({ url: this.urls.get(n.node) as string, stake: String(n.stake),
        pin: `${hex(genesis.network)}/${n.node}/${hex(n.key)}` }));
  }

  /** Asks one node after the other, until one has given a list that holds. */
  private async askAll(): Promise<void> {
    let last: unknown;
    for (const url of new Set([...this.ask, ...this.urls.values()])) {
      try {
        return await this.askOne(url);
      } catch (err) {
        last = err;
      }
    }
    throw last;
  }

  private async askOne(url: string): Promise<void> {
    const response = await this.fetch(`${url}/nodes`, { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw await refusal(response);
    const x = (await response.json()) as Json;
    const text = String(x.list ?? "");
    if (text !== "") {
      const list = fromHex(text);
      await this.terms.follow(listTerm(list), (first) => exportTerms(url, first, this.fetch));
      const { record, nodes } = parseNodeList(list, this.terms);
      if (record.height >= this.height) {
        this.nodes = nodes;
        this.epoch = record.epoch;
        this.height = record.height;
      }
    }
    const urls = new Map<number, string>();
    for (const c of Array.isArray(x.contacts) ? x.contacts as Json[] : []) {
      if (typeof c.url === "string" && /^https?:\/\//.test(c.url)) urls.set(Number(c.node), c.url);
    }
    if (urls.size === 0) throw new Error(`waybill: ${url} knows no node that delivers`);
    this.urls = urls;
    this.at = performance.now();
  }
}
