// Offers to co-sign: what is true is signed, and what is not has its name.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as w from "../dist/index.js";

const vectors = JSON.parse(
  readFileSync(new URL("../test/vectors.json", import.meta.url), "utf8"));
const poseidon = JSON.parse(readFileSync(
  new URL("../../../docs/poseidon2-bn254-16.json", import.meta.url), "utf8")) as {
  internal_matrix_diagonal_less_one: string[];
  round_keys: string[][];
};

interface Case {
  client: number;
  payer: number;
  acks: { service: number; number: number; units: number; request: string }[];
  word: string;
  message: string;
  offer: w.Json;
}

test("the constants of Poseidon2 are those that are published", () => {
  const c = w.constants();
  assert.deepEqual(c.keys, poseidon.round_keys.map((round) => round.map(BigInt)));
  assert.deepEqual(c.diagonal, poseidon.internal_matrix_diagonal_less_one.map(BigInt));
});

function memory(c: Case): w.Memory {
  return {
    network: w.fromHex(String(c.offer.network)), payer: c.payer, any: true,
    acks: (service, first, count) => {
      const list = Array.from({ length: count }, (_, i) => c.acks.find((a) =>
        a.service === service && a.number === first + i));
      return list.every((a) => a !== undefined)
        ? list.map((a) => ({ units: a!.units, request: w.fromHex(a!.request) })) : undefined;
    },
    refused: () => false,
  };
}

test("offers", () => {
  const faults: [string, (o: w.Offer, m: w.Memory, c: Case) => void][] = [
    ["wrong_path", (o) => { o.root[0] ^= 1; }],
    ["wrong_path", (o) => { o.ranges[0].statements[0].units++; }],
    ["wrong_path", (o) => { o.count++; o.ranges[0].path.push(new Uint8Array(32)); }],
    ["wrong_network", (_o, m) => { m.network = new Uint8Array(32); }],
    ["wrong_window", (_o, m) => { m.any = false; }],
    ["repeated", (o, m) => { m.signed = { count: o.count, root: new Uint8Array(32) }; }],
    ["wrong_payer", (_o, m) => { m.payer = 1; }],
    ["wrong_acks", (_o, m) => { m.acks = () => undefined; }],
    ["wrong_units", (_o, _m, c) => { c.acks[0].units++; }],
    ["wrong_root", (_o, _m, c) => { c.acks[0].request = "00".repeat(32); }],
    ["refused_acks", (_o, m) => { m.refused = () => true; }],
    ["no_statement", (_o, _m, c) => { c.client = 2 ** 39; }],
  ];
  assert.equal(vectors.offers.length, 4);
  for (const c of vectors.offers as Case[]) {
    const o = w.parseOffer(c.offer);
    assert.equal(w.hex(w.offerMessage(o)), c.word);
    assert.ok(w.edVerifySync(w.fromHex(vectors.keys.node_key), w.offerMessage(o), o.signature));
    assert.equal(w.hex(w.cosignMessage(o)), c.message);
    assert.deepEqual(o.clients, [c.client]);
    assert.equal(w.whyNot(o, c.client, memory(c)), undefined);
    const again = { ...memory(c), signed: { count: o.count, root: o.root } };
    assert.equal(w.whyNot(o, c.client, again), undefined);
    for (const [reason, change] of faults) {
      const other = structuredClone(c);
      const bad = w.parseOffer(other.offer);
      const m = memory(other);
      change(bad, m, other);
      assert.equal(w.whyNot(bad, other.client, m), reason);
    }
    // Of a tree with others beside it, who they are has to be shown.
    const { ranges: [range] } = o;
    if (range.first > 0) {
      assert.equal(w.whyNot(o, range.statements[0].client, memory(c)), "neighbour");
    }
  }
  const { offer } = vectors.offers[0] as Case;
  for (const bad of [{ ...offer, root: "" }, { ...offer, signature: "AA==" },
    { ...offer, count: -1 }, { ...offer, ranges: [{ first: 0, statements: "AA==" }] }]) {
    assert.throws(() => w.parseOffer(bad), w.ProtocolError);
  }
});
