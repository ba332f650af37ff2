/** What a page does to have its images and films delivered. */
import { indexedStorage, join, type Kept } from "./browser.js";
import { type Stats } from "./link.js";

/** What the service worker counts. */
export interface WorkerStats extends Stats {
  signatures: number;
  milliseconds: number; // that signing took
}

/** Asks the service worker. */
async function ask<T>(worker: ServiceWorker, waybill: string): Promise<T> {
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise<T>((done, fail) => {
    port1.onmessage = ({ data }: MessageEvent<{ value: T; error?: string }>) => {
      if (data.error === undefined) done(data.value);
      else fail(new Error(data.error));
    };
  });
  worker.postMessage({ waybill }, [port2]);
  return answer;
}

/** Where a site's parts are on its own origin. */
export interface Start {
  worker?: string; // the address of the service worker's script
  prefix?: string; // under which the site's content stands
  site?: string; // what answers a Site in JSON
  grant?: string; // what answers to a key with a grant
}

/** Delivery is ready: images and films under the prefix go through the nodes. */
export class Delivery {
  readonly client: Kept;
  private readonly worker: ServiceWorker;
  constructor(worker: ServiceWorker, client: Kept) {
    this.worker = worker;
    this.client = client;
  }

  stats(): Promise<WorkerStats> {
    return ask(this.worker, "stats");
  }

  /** Acknowledges what was received, and waits for the nodes' answers. */
  settle(): Promise<WorkerStats> {
    return ask(this.worker, "settle");
  }
}

/** Makes this device a client, if it is none, and starts the service worker. */
export async function start(o: Start = {}): Promise<Delivery> {
  const prefix = o.prefix ?? "/w/";
  const client = await join(indexedStorage("waybill", false), o.site ?? "/waybill/site",
    o.grant ?? "/waybill/grant");
  await navigator.serviceWorker.register(
    `${o.worker ?? "/serviceworker.js"}?prefix=${encodeURIComponent(prefix)}`, { scope: "/" });
  await navigator.serviceWorker.ready;
  while (navigator.serviceWorker.controller === null) {
    await new Promise((done) =>
      navigator.serviceWorker.addEventListener("controllerchange", done, { once: true }));
  }
  const worker = navigator.serviceWorker.controller;
  await ask(worker, "joined");
  return new Delivery(worker, client);
}
