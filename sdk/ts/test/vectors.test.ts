// What this package encodes, hashes and signs is what Go does: vectors.json is guarded by
// sdk/vectors there.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as w from "../dist/index.js";

const vectors = JSON.parse(
  readFileSync(new URL("../test/vectors.json", import.meta.url), "utf8"));
const hex = (text: string) => w.fromHex(text);
const network = hex(vectors.ack.network);

const pattern = (n: number) => Uint8Array.from({ length: n }, (_, i) => i % 251);
const same = (b: Uint8Array, text: string) => assert.equal(w.hex(b), text);

for (const [name, make] of Object.entries(w.kernels)) {
  test(`${name}: roots`, async () => {
    const kernel = await make();
    for (const h of vectors.hashes) {
      same(w.rootOf(kernel, pattern(h.size)), h.root);
      if (h.size <= 50000) same(w.b3(pattern(h.size)), h.root);
    }
  });

  test(`${name}: agrees with another implementation`, async () => {
    const kernel = await make();
    for (let n = 0; n < 3 * w.groupSize; n = n < 70 ? n + 1 : Math.floor(n * 1.07)) {
      same(w.rootOf(kernel, pattern(n)), w.hex(w.b3(pattern(n))));
    }
  });

  test(`${name}: numbers of chunks beyond 2^32`, async () => {
    const kernel = await make();
    const reference = await w.kernels.javascript();
    const data = pattern(40 * w.groupSize + 5);
    const chunk = 2 ** 32 - 16 * 17;
    same(kernel.groups(data, chunk).slice(), w.hex(reference.groups(data, chunk)));
  });

  test(`${name}: streams are verified, and no byte may differ`, async () => {
    const kernel = await make();
    for (const s of vectors.streams) {
      const data = pattern(s.size);
      const d = new w.Decoder(kernel, hex(s.root), s.size, s.first);
      for (const run of s.runs) {
        const parents = hex(run.parents);
        const from = d.offset;
        const need = d.need(run.groups);
        assert.equal(need.nodes, parents.length);
        const bytes = data.slice(from, from + need.data);
        for (const [what, at] of [[parents, 0], [parents, parents.length - 1], [bytes, 0],
          [bytes, bytes.length - 1]] as [Uint8Array, number][]) {
          if (what.length === 0) continue;
          what[at] ^= 1;
          const other = new w.Decoder(kernel, hex(s.root), s.size, s.first);
          Object.assign(other, structuredClone({ next: d["next"], stack: d["stack"] }));
          const got = other.decode(parents, bytes);
          assert.ok(got.error !== undefined && got.verified < need.data);
          assert.equal(got.verified + from, other.offset);
          what[at] ^= 1;
        }
        assert.deepEqual(d.decode(parents, bytes), { verified: need.data });
      }
      assert.ok(d.done);
    }
  });
}

test("BLS keys, signatures and sums", () => {
  const k = vectors.keys;
  const message = hex(k.message);
  same(w.publicKey(hex(k.secret)), k.public);
  same(w.blsSign(hex(k.secret), message), k.signature);
  assert.ok(w.blsVerify(hex(k.public), message, hex(k.signature)));
  message[0] ^= 1;
  assert.ok(!w.blsVerify(hex(k.public), message, hex(k.signature)));
  assert.ok(!w.blsVerify(hex(k.public), message, hex("c0" + "00".repeat(47))));
  assert.equal(w.newSecretKey().length, 32);
});

test("Ed25519, by the platform and without", async () => {
  const k = vectors.keys;
  same(w.edPublicKey(hex(k.seed)), k.node_key);
  same(w.edSign(hex(k.seed), hex(k.word)), k.word_signature);
  const key = new w.EdKey(hex(k.node_key));
  const signature = hex(k.word_signature);
  for (const verify of [(s: Uint8Array) => w.edVerifySync(key.bytes, hex(k.word), s),
    (s: Uint8Array) => key.verify(hex(k.word), s)]) {
    assert.ok(await verify(signature));
    for (let i = 0; i < 64; i++) {
      const other = signature.slice();
      other[i] ^= 1;
      assert.ok(!(await verify(other)), `byte ${i}`);
    }
  }
  // The identity, a point of order 8, and an encoding that is not canonical.
  for (const bad of ["01" + "00".repeat(31),
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ee" + "ff".repeat(30) + "7f"]) {
    assert.ok(!w.isEdKey(hex(bad)));
    assert.throws(() => new w.EdKey(hex(bad)));
  }
});

test("acks and answers", () => {
  const a = vectors.ack;
  const ack = { ...a, network, request: hex(a.request) };
  same(w.ackMessage(ack), a.message);
  const signature = w.blsSign(hex(vectors.keys.secret), w.ackMessage(ack));
  same(w.ackFrame(ack, signature), a.frame);
  const read = w.parseAck(hex(a.frame), network);
  same(w.ackFrame(read.ack, read.signature), a.frame);
  assert.throws(() => w.parseAck(hex(a.frame + "00"), network), w.ProtocolError);
  assert.throws(() => w.parseAck(hex(a.frame), hex("ff".repeat(32))), w.ProtocolError);
  const x = vectors.answers;
  same(w.answersMessage(network, x.node, x.epoch, x.height,
    x.answers.map((y: { frame: string; code: string; arg: number }) =>
      ({ frame: hex(y.frame), code: w.answerNamed(y.code)!.code, arg: y.arg }))), x.message);
  assert.deepEqual(w.answers.map((y) => ({ ...y })), vectors.codes);
});

test("grants", () => {
  const g = vectors.grant;
  const secret = hex(vectors.keys.secret);
  const key = w.publicKey(secret);
  const payer = w.edPublicKey(hex(g.payer_seed));
  const proof = w.provePossession(secret, network, payer, key);
  same(proof, g.proof);
  assert.ok(w.blsVerifyProof(key, w.possessionMessage(network, payer, key), proof));
  const grant = w.newGrant(network, g.payer, hex(g.payer_seed), key, proof,
    { services: g.services, numbers: g.numbers, from: g.from, until: g.until });
  same(w.grantsTransaction(network, [grant]), g.transaction);
});

test("heads", () => {
  const h = vectors.head;
  const frame = hex(h.frame);
  const prefix = w.parsePrefix(frame.subarray(0, w.prefixSize));
  assert.deepEqual(prefix, { kind: w.kind.head, length: frame.length - w.prefixSize });
  const { head, signature } = w.parseHead(frame.subarray(w.prefixSize));
  for (const name of ["node", "epoch", "height", "client", "service", "price", "size", "offset",
    "length"] as const) assert.equal(head[name], h[name]);
  for (const name of ["session", "content", "manifest", "path"] as const) same(head[name], h[name]);
  const message = w.headMessage(network, head);
  same(w.b3(message), h.digest);
  assert.ok(w.edVerifySync(hex(vectors.keys.node_key), message, signature));
  assert.throws(() => w.parseHead(frame), w.ProtocolError);
});

test("sessions, frames and records", () => {
  const d = vectors.delivery;
  const session = { network, node: d.node, client: d.client, epoch: d.epoch, id: hex(d.id),
    challenge: hex(d.challenge) };
  same(w.openMessage(session, w.blsSign(hex(vectors.keys.secret), w.sessionMessage(session))),
    d.open);
  same(w.stopMessage(hex(d.stop).subarray(0, 16), hex(d.stop).subarray(16)), d.stop);
  const body = (text: string, k: number) => {
    const b = hex(text);
    assert.deepEqual(w.parsePrefix(b.subarray(0, 5)), { kind: k, length: b.length - 5 });
    return b.subarray(5);
  };
  const run = w.parseRun(body(d.run, w.kind.run));
  assert.deepEqual([run.first, run.groups, run.parents.length], [1, 2, 192]);
  assert.deepEqual(w.parseAsk(body(d.ask, w.kind.ask)), { due: 131072, window: 262144 });
  assert.deepEqual(w.parseAbort(body(d.abort, w.kind.abort)), { reason: "unpaid", after: 1000 });
  assert.equal(body(d.end, w.kind.end).length, 0);
  assert.deepEqual(w.reasons.slice(1), d.reasons);
  for (const bad of ["0000000000", "0600000000", "0401000000", "0311000000", "020d000000"]) {
    assert.throws(() => w.parsePrefix(hex(bad)), w.ProtocolError);
  }
  const records = d.records.map((x: string) => w.parseRecord(hex(x)));
  records.forEach((x: w.Record, i: number) => {
    same(w.recordBytes(x), d.records[i]);
    same(w.requestOf(records.slice(0, i + 1)), d.requests[i]);
  });
  for (const s of d.spans) {
    assert.deepEqual(w.widen(s.size, s.offset, s.length),
      { first: s.first, groups: s.groups, from: s.from, bytes: s.bytes });
  }
  for (const [size, offset, length] of [[1, 0, 0], [1, 1, 1], [10, 5, 6], [2 ** 51, 0, 1]]) {
    assert.throws(() => w.widen(size, offset, length), w.ProtocolError);
  }
});

test("genesis files and certified records", () => {
  const r = vectors.record;
  const genesis = w.parseGenesis(r.genesis);
  same(genesis.network, r.network);
  const terms = new w.Terms(genesis);
  const record = hex(r.record);
  const certificate = hex(r.certificate);
  const got = w.verifyRecord(record, certificate, terms);
  assert.deepEqual({ ...got, registryRoot: "" },
    { term: 0, height: r.height, time: r.time, epoch: r.epoch, registryRoot: "" });
  for (let i = 0; i < record.length; i += 25) {
    record[i] ^= 1;
    assert.throws(() => w.verifyRecord(record, certificate, terms), w.ProtocolError, `${i}`);
    record[i] ^= 1;
  }
  for (const i of [0, 8, 9, 10, 20]) {
    certificate[i] ^= 1;
    assert.throws(() => w.verifyRecord(record, certificate, terms), w.ProtocolError, `${i}`);
    certificate[i] ^= 1;
  }
  const other = r.genesis.replace("testnet", "tostnet");
  assert.notDeepEqual(w.parseGenesis(other).network, genesis.network);
  assert.throws(() => w.parseGenesis(r.genesis.replace('"chain_id"', '"chain"')), w.ProtocolError);
});

test("lists of nodes", () => {
  const v = vectors.list;
  const genesis = w.parseGenesis(vectors.record.genesis);
  const list = hex(v.list);
  const terms = new w.Terms(genesis);
  assert.equal(w.listTerm(list), 0);
  const { record, nodes } = w.parseNodeList(list, terms);
  assert.equal(record.height, v.height);
  assert.deepEqual(w.eligible(nodes, record.epoch, genesis).map((n) =>
    ({ node: n.node, stake: String(n.stake) })), v.eligible);
  for (let i = 0; i < list.length; i += 37) {
    list[i] ^= 1;
    assert.throws(() => w.parseNodeList(list, terms), w.ProtocolError, `byte ${i}`);
    list[i] ^= 1;
  }
  assert.throws(() => w.parseNodeList(hex(v.list + "00"), terms), w.ProtocolError);
  assert.deepEqual(w.genesisNodes(genesis).map((n) => n.node), [0, 1, 2]);
});

test("manifests, and what they show of a path", () => {
  const v = vectors.manifest;
  const m = w.parseManifest(hex(v.manifest));
  w.verifyManifest(m, network, 3, 39, hex(v.owner));
  for (const bad of [() => w.verifyManifest(m, network, 3, 40, hex(v.owner)),
    () => w.verifyManifest(m, network, 4, 1, hex(v.owner)),
    () => w.verifyManifest(m, hex(v.digest), 3, 1, hex(v.owner)),
    () => w.verifyManifest(m, network, 3, 1, hex(vectors.keys.node_key))]) {
    assert.throws(bad, w.ProtocolError);
  }
  same(w.manifestDigest(m.head), v.digest);
  for (const s of v.shows) {
    same(w.pathDigest(s.path), s.digest);
    const shown = s.shown.map((x: { entry: string; index: number; path: string[] }) => ({
      entry: m.entries[x.index], index: x.index, path: x.path.map(hex) }));
    s.shown.forEach((x: { entry: string }, i: number) =>
      same(w.entryBytes(shown[i].entry), x.entry));
    assert.equal(w.resolve(m.head, s.path, shown) !== undefined, s.there, s.path);
    assert.throws(() => w.resolve(m.head, s.path === "/c" ? "/zz" : "/cc", shown), w.ProtocolError);
    shown[0].index ^= 1;
    assert.throws(() => w.resolve(m.head, s.path, shown), w.ProtocolError);
  }
  for (const path of v.bad_paths) assert.throws(() => w.checkPath(path), w.ProtocolError, path);
  const text = hex(v.manifest);
  text[text.length - 1] ^= 1;
  assert.throws(() => w.parseManifest(text), w.ProtocolError);
});

test("committees, by their hand-overs", async () => {
  const v = vectors.terms;
  const genesis = w.parseGenesis(v.genesis);
  const storage = w.memoryStorage();
  const terms = new w.Terms(genesis, storage);
  const record = hex(v.record);
  const certificate = hex(v.certificate);
  assert.equal(w.termOf(record), v.term);
  const verify = () => w.verifyRecord(record, certificate, terms);
  assert.throws(verify, { code: "unknown_term" });
  let asked = 0;
  const ask = async (first: number) => {
    asked++;
    assert.equal(first, 1);
    return hex(v.hand_overs);
  };
  await Promise.all([terms.follow(v.term, ask), terms.follow(v.term, ask)]);
  assert.equal(asked, 1);
  assert.equal(terms.last, v.roots.length - 1);
  v.roots.forEach((root: string, term: number) => same(terms.root(term), root));
  assert.deepEqual({ ...verify(), registryRoot: "", time: 0 },
    { term: v.term, height: v.height, epoch: v.epoch, registryRoot: "", time: 0 });
  // What was verified is kept, and nobody is asked again.
  const again = new w.Terms(genesis, storage);
  await again.follow(v.term, () => assert.fail("asked again"));
  same(again.root(v.roots.length - 1), v.roots[v.roots.length - 1]);
  w.verifyRecord(record, certificate, again);
  // A record of a time in which its committee was not in office.
  for (const [term, epoch] of [[v.term, 0], [0, 1000]]) {
    assert.throws(() => terms.signers({ term, height: 0, time: 0, epoch,
      registryRoot: record }), { code: "office" });
  }
});

test("hand-overs that do not hold", async () => {
  const v = vectors.terms;
  const genesis = w.parseGenesis(v.genesis);
  const file = hex(v.hand_overs);
  for (let i = 0; i < file.length; i += 97) {
    const terms = new w.Terms(genesis);
    file[i] ^= 1;
    await assert.rejects(terms.take(file), w.ProtocolError, `byte ${i}`);
    assert.equal(terms.last, 0);
    file[i] ^= 1;
  }
  await assert.rejects(new w.Terms(genesis).take(hex(v.hand_overs + "00")), w.ProtocolError);
  const fixed = new w.Terms(w.parseGenesis(vectors.record.genesis));
  await assert.rejects(fixed.take(file), w.ProtocolError);
  await fixed.follow(5, () => assert.fail("asked where nothing changes"));
});

test("a network that goes on from another one's state", () => {
  const v = vectors.terms.recovered;
  const genesis = w.parseGenesis(v.genesis);
  same(genesis.network, v.network);
  assert.deepEqual(genesis.committee.map((m) => m.node), v.nodes);
  same(new w.Terms(genesis).root(0), v.root);
  assert.throws(() => w.parseGenesis(v.genesis.replace('"height"', '"heights"')), w.ProtocolError);
});
