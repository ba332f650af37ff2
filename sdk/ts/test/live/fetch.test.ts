// The fetcher against nodes, which go test ./sdk/live starts.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as w from "../../dist/index.js";

const live = process.env.WAYBILL_LIVE as string;

async function json<T>(path: string, method = "GET"): Promise<T> {
  const response = await fetch(live + path, { method });
  assert.ok(response.ok, path);
  return (await response.json()) as T;
}

type Config = Omit<w.FetcherConfig, "secret"> & { secret: string };

async function config(client: number, change: Partial<w.FetcherConfig> = {}) {
  const c = await json<Config>(`/config/${client}`);
  return { ...c, secret: w.fromHex(c.secret), ...change } as w.FetcherConfig;
}

interface BookOf {
  sent: number;
  paid: number;
  outstanding: number;
  owed: number;
  beyond: number;
}

const books = () => json<BookOf[]>("/books");

const sizes = [0, 1, 16384, 16385, 700001, 5 << 20];

test("content of all sizes comes verified, by its path, and all of it is paid", async () => {
  const f = new w.Fetcher(await config(0));
  let total = 0;
  for (const size of sizes) {
    const content = await f.fetch(`/files/${size}`);
    const bytes = await content.bytes();
    assert.equal(bytes.length, size);
    assert.equal(w.hex(w.b3(bytes)), content.root);
    total += size;
  }
  await f.close();
  const s = f.stats();
  assert.deepEqual([s.received, s.signed, s.charged, s.refused], [total, total, total, 0]);
  for (const b of await books()) {
    assert.deepEqual([b.outstanding, b.owed, b.beyond, b.sent], [0, 0, 0, b.paid]);
  }
});

test("one ack covers many requests", async () => {
  const c = await config(1);
  const f = new w.Fetcher({ ...c, nodes: c.nodes?.slice(0, 1) });
  const pages = await Promise.all(Array.from({ length: 100 }, async (_, i) =>
    (await f.fetch(`/images/${i}.bmp`)).bytes()));
  const total = pages.reduce((sum, b) => sum + b.length, 0);
  await f.close();
  const s = f.stats();
  assert.deepEqual([s.received, s.charged], [total, total]);
  assert.ok(s.acks < 40, `${s.acks} acks for 100 images`);
  console.log(`# ${total} bytes of 100 images, ${s.acks} acks, signed in ` +
    `${(f.signer as w.LocalSigner).milliseconds.toFixed(0)} ms`);
});

test("any range is read, and what was on its way when the reader left is paid", async () => {
  const f = new w.Fetcher(await config(2));
  const whole = await (await f.fetch("/files/700001")).bytes();
  for (const [from, to] of [[0, 1], [16383, 16385], [699999, 700001], [100000, 500000]]) {
    const part = await f.fetch("/files/700001", { from, to });
    assert.deepEqual(await part.bytes(), whole.slice(from, to));
    const r = (await f.fetch("/files/700001", { from, to })).response();
    assert.equal(r.status, 206);
    assert.equal(r.headers.get("Content-Range"), `bytes ${from}-${to - 1}/700001`);
    await r.arrayBuffer();
  }
  const film = await f.fetch("/files/5242880", { from: 1_000_000 });
  const reader = film.body.getReader();
  await reader.read();
  await reader.cancel();
  await assert.rejects(f.fetch("/files/1", { from: 5, to: 6 }), w.FetchError);
  await f.close();
  const s = f.stats();
  assert.equal(s.charged, s.received);
  for (const b of await books()) assert.deepEqual([b.outstanding, b.owed], [0, 0]);
});

test("a byte that is flipped is not handed on, not paid, and named", async () => {
  let flip = -1;
  let seen = 0;
  const c = await config(3);
  const f = new w.Fetcher({ ...c, nodes: c.nodes?.slice(0, 1), stall: 1000,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (!input.includes("/b3/") || response.body === null) return response;
      seen = 0;
      const body = response.body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, out) {
          const b = chunk.slice();
          if (flip >= seen && flip < seen + b.length) b[flip - seen] ^= 1;
          seen += b.length;
          out.enqueue(b);
        },
      }));
      return new Response(body, { status: response.status, headers: response.headers });
    } });
  const whole = await (await f.fetch("/files/700001")).bytes();
  let refused = 0;
  for (const at of [0, 1, 5, 9, 100, 200, 241, 242, 246, 254, 260, 400, 5000, 300_000]) {
    flip = at;
    try {
      const content = await f.fetch("/files/700001");
      const reader = content.body.getReader();
      for (let n = 0; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        assert.deepEqual(value, whole.slice(n, n + value.length));
        n += value.length;
      }
    } catch (err) {
      refused++;
      assert.ok(err instanceof w.FetchError && err.node !== "" && err.phase !== "", String(err));
    }
  }
  assert.ok(refused >= 10, `${refused} refused`);
  flip = -1;
  await f.close();
  const s = f.stats();
  assert.equal(s.charged, s.received);
});

test("a server that is not the node gets no signature", async () => {
  const c = await config(4);
  const nodes = c.nodes as w.NodeConfig[];
  const other = { ...nodes[0], url: nodes[1].url };
  const f = new w.Fetcher({ ...c, nodes: [other] });
  const root = w.hex((await new w.Fetcher(c).entry("/files/1")).root);
  await assert.rejects(f.fetch(root), (err: w.FetchError) =>
    err.phase === "session" && err.code === "other_node" && err.charged === 0);
  assert.equal((f.signer as w.LocalSigner).signatures, 0);
  const dear = new w.Fetcher({ ...c, maxPrice: 1 });
  await assert.rejects(dear.fetch(root));
  const absent = new w.Fetcher(c);
  await assert.rejects(absent.fetch("/nothing"), (err: w.FetchError) => err.code === "not_found");
  await assert.rejects(absent.fetch("00".repeat(32)), (err: w.FetchError) =>
    err.errors.length === 2 && [err, ...err.errors].every((e) =>
      e.code === "not_found" && e.phase === "request" && e.node !== ""));
});

test("a book outlives its program; without one no number is signed twice", async () => {
  const storage = w.memoryStorage();
  const c = await config(5, { storage });
  const one = { ...c, nodes: c.nodes?.slice(0, 1), patience: 300 };
  let cut = true;
  const f = new w.Fetcher({ ...one, fetch: (input, init) =>
    cut && input.includes("SubmitAck") ? Promise.reject(new TypeError("cut"))
      : fetch(input, init) });
  await (await f.fetch("/files/16384")).bytes();
  await assert.rejects(f.close(), (err: w.FetchError) => err.phase === "acknowledge");
  assert.deepEqual([f.stats().signed, f.stats().charged], [16384, 0]);
  const before = (await books())[0];
  cut = false;
  const again = new w.Fetcher(one);
  await (await again.fetch("/files/1")).bytes();
  await again.close();
  const after = (await books())[0];
  assert.equal(after.paid - before.paid, 16385);
  const forgotten = new w.Fetcher({ ...one, storage: w.memoryStorage() });
  await (await forgotten.fetch("/files/16385")).bytes();
  await forgotten.close();
  assert.equal(forgotten.stats().charged, 16385);
});

test("acks are signed for the epoch that a certified record shows", async () => {
  const c = await config(6);
  const storage = w.memoryStorage();
  const one = { ...c, storage, nodes: c.nodes?.slice(0, 1), patience: 20_000 };
  const f = new w.Fetcher(one);
  await (await f.fetch("/files/16384")).bytes();
  await f.settle();
  const epochs = async () => Object.keys((JSON.parse(await storage.get(
    `${one.nodes![0].pin}/6/0`) as string) as { lanes: object }).lanes);
  assert.deepEqual(await epochs(), ["0"]);
  assert.equal(await json<number>("/epoch", "POST"), 1);
  await new Promise((done) => setTimeout(done, 3100)); // what the node said is old by then
  await (await f.fetch("/files/1")).bytes();
  const settled = f.settle();
  await new Promise((done) => setTimeout(done, 500));
  await json("/certify", "POST");
  await settled;
  await (await f.fetch("/files/16385")).bytes();
  await f.close();
  assert.ok((await epochs()).includes("1"), String(await epochs()));
  assert.equal(f.stats().charged, 16384 + 1 + 16385);
  // Who shows another network's record, or none, gets no signature.
  let records = 0;
  const lied = new w.Fetcher({ ...one, storage: w.memoryStorage(), patience: 500,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      if (!input.endsWith("FollowEpochs")) return response;
      records++;
      const reader = response.body!.getReader();
      const { value } = await reader.read();
      const text = new TextDecoder().decode((value as Uint8Array).subarray(5));
      const said = JSON.parse(text.slice(0, text.indexOf("}") + 1)) as { record: string };
      said.record = said.record.replace(/[A-Z]/g, "Q");
      const body = new TextEncoder().encode(JSON.stringify(said));
      const frame = new Uint8Array(5 + body.length);
      new DataView(frame.buffer).setUint32(1, body.length);
      frame.set(body, 5);
      return new Response(frame);
    } });
  const root = w.hex((await new w.Fetcher(one).entry("/files/1")).root);
  await (await lied.fetch(root)).bytes();
  await assert.rejects(lied.close(), (err: w.FetchError) =>
    err.phase === "acknowledge" && err.code !== "");
  assert.ok(records > 0);
  assert.equal(lied.stats().signed, 0);
});

test("nodes are found by asking any of them", async () => {
  const { nodes, ...c } = await config(7);
  const f = new w.Fetcher({ ...c, ask: [nodes![1].url] });
  for (const size of [1, 16384, 16385, 700001]) await (await f.fetch(`/files/${size}`)).bytes();
  await f.close();
  assert.deepEqual(f.statsOfNodes().map((n) => n.node).sort(), [0, 1]);
  assert.equal(f.stats().charged, f.stats().received);
  const lost = new w.Fetcher({ ...c, ask: ["http://127.0.0.1:1"] });
  await assert.rejects(lost.fetch("/files/1"), (err: w.FetchError) => err.phase === "route");
});

test("when a node goes in the middle, reading goes on at another one", async () => {
  const c = await config(6);
  const root = w.hex((await new w.Fetcher(c).entry("/files/5242880")).root);
  const first = w.candidates(w.fromHex(root), c.nodes!.map((_, node) => ({ node, stake: 1n })))[0];
  const f = new w.Fetcher({ ...c, patience: 300 });
  const content = await f.fetch(root);
  const reader = content.body.getReader();
  const begin = await reader.read();
  const cut = fetch(`${live}/cut/${first}`, { method: "POST" });
  const parts = [begin.value as Uint8Array];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    parts.push(value);
  }
  await cut;
  assert.equal(w.hex(w.b3(w.concat(...parts))), root);
  await f.close().catch(() => undefined); // the node that is gone takes no acks
  assert.ok(f.statsOfNodes()[1 - first].stats.charged > 0);
});
