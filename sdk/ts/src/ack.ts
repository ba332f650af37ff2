/** Acknowledgements, their answers, and grants (protocol sections 2, 4, 7, 8 and 11). */
import { type Bytes, Reader, Writer } from "./bytes.js";
import { blsProve, edPublicKey, edSign } from "./keys.js";
import { b3, TreeKind } from "./tree.js";

export const ackSize = 128;

/** An acknowledgement. */
export interface Ack {
  network: Uint8Array; // 32 bytes, of which the ack itself has 8
  epoch: number;
  node: number;
  client: number;
  service: number;
  number: number;
  units: number;
  request: Uint8Array; // root over the request records
}

function ackBody(a: Ack): Bytes {
  return new Writer().u32(a.epoch).u32(a.node).u64(a.client).u32(a.service).u32(a.number)
    .u64(a.units).raw(a.request, 32).end();
}

/** What a client signs of an ack. */
export const ackMessage = (a: Ack): Bytes =>
  new Writer().tag("wb-ack/2").raw(a.network, 32).raw(ackBody(a)).end();

/** The 128 bytes of an ack. */
export const ackFrame = (a: Ack, signature: Uint8Array): Bytes =>
  new Writer().tag("wb-ack/2").raw(a.network.subarray(0, 8)).raw(ackBody(a)).raw(signature, 48)
    .end();

/** Decodes the 128 bytes of an ack of a network. */
export function parseAck(b: Uint8Array, network: Uint8Array): { ack: Ack; signature: Bytes } {
  const r = new Reader(b, "an ack");
  r.tag("wb-ack/2");
  const net = r.raw(8);
  if (!net.every((x, i) => x === network[i])) r.fail("it is another network's");
  const ack: Ack = { network, epoch: r.u32(), node: r.u32(), client: r.u64(), service: r.u32(),
    number: r.u32(), units: r.u64(), request: r.raw(32) };
  const signature = r.raw(48);
  r.end();
  if (ack.client >= 2 ** 40) r.fail(`client ${ack.client}`);
  return { ack, signature };
}

/** The classes of answers: what a client does. */
export type AnswerClass = "taken" | "not_now" | "never" | "faulty";

const codeNames: [number, string, AnswerClass][] = [
  [0, "accepted", "taken"], [1, "known", "taken"], [2, "malformed", "faulty"],
  [3, "wrong_network", "faulty"], [4, "wrong_node", "faulty"], [5, "past_epoch", "never"],
  [8, "unknown_client", "not_now"], [9, "unknown_service", "not_now"],
  [10, "zero_units", "faulty"], [11, "excess_units", "faulty"], [12, "number_used", "never"],
  [13, "bad_encoding", "faulty"], [14, "not_on_curve", "faulty"],
  [15, "not_in_subgroup", "faulty"], [16, "identity", "faulty"], [17, "bad_signature", "faulty"],
  [18, "overloaded", "not_now"], [19, "clock", "not_now"], [20, "store_failed", "not_now"],
  [21, "shutting_down", "not_now"], [22, "overflow", "not_now"], [23, "busy", "not_now"],
  [24, "gap", "not_now"], [25, "epoch_ahead", "not_now"],
  [26, "insufficient_reserve", "not_now"], [27, "insufficient_allowance", "not_now"],
  [28, "own_limit", "not_now"], [29, "not_valid", "never"], [30, "beyond_limit", "never"],
  [31, "not_granted", "faulty"], [32, "on_account", "taken"], [33, "dropped", "not_now"],
];

/** A node's answer to an ack. */
export interface Answer {
  code: number;
  name: string;
  class: AnswerClass;
}

export const answers: readonly Answer[] =
  codeNames.map(([code, name, kind]) => ({ code, name, class: kind }));

const byName = new Map(answers.map((a) => [a.name, a]));

/** The answer of a name, if the protocol has it. */
export const answerNamed = (name: string): Answer | undefined => byName.get(name);

const answerTree = new TreeKind("answer");

/** What a node signs of its answers to a message of acks: word `wb-ans/2`. */
export function answersMessage(network: Uint8Array, node: number, epoch: number, height: number,
  list: { frame: Uint8Array; code: number; arg: number }[]): Bytes {
  const root = answerTree.root(list.map((x) =>
    new Writer().raw(b3(x.frame), 32).u8(x.code).u64(x.arg).end()));
  return new Writer().tag("wb-ans/2").raw(network, 32).u32(node).u32(epoch).u64(height)
    .u16(list.length).raw(root, 32).end();
}

/** Stands in a grant for a service that is not there, and for no bound of numbers or epochs. */
export const none = 2 ** 32 - 1;

/** What a payer signs: who holds the key may use these services at its cost. */
export interface Terms {
  services: number[]; // one to three
  numbers: number; // acks at one node for one service in one epoch, at most; none: not bounded
  from: number; // epoch
  until: number; // the first epoch in which it is over
}

function terms(t: Terms): Bytes {
  const list = [...new Set(t.services)].sort((a, b) => a - b);
  if (list.length < 1 || list.length > 3) throw new RangeError("a grant is for 1 to 3 services");
  while (list.length < 3) list.push(none);
  const w = new Writer();
  for (const s of list) w.u32(s);
  return w.u32(t.numbers).u32(t.from).u32(t.until).end();
}

/** What a client's key signs to show that somebody holds it, at the cost of a payer's account. */
export const possessionMessage = (network: Uint8Array, payerKey: Uint8Array, key: Uint8Array) =>
  new Writer().tag("wb-pop/2").raw(network, 32).u8(1).raw(payerKey, 32).raw(key, 96).end();

/** The proof of possession that a client hands to its payer. */
export const provePossession = (secret: Uint8Array, network: Uint8Array, payerKey: Uint8Array,
  key: Uint8Array): Bytes => blsProve(secret, possessionMessage(network, payerKey, key));

/** What a payer's account signs of a grant. */
export const grantMessage = (network: Uint8Array, payerKey: Uint8Array, key: Uint8Array,
  t: Terms): Bytes =>
  new Writer().tag("wb-grt/2").raw(network, 32).raw(payerKey, 32).raw(key, 96).raw(terms(t)).end();

/** A grant, 236 bytes, signed with the seed of its payer's account key. */
export function newGrant(network: Uint8Array, payer: number, payerSeed: Uint8Array,
  key: Uint8Array, proof: Uint8Array, t: Terms): Bytes {
  const message = grantMessage(network, edPublicKey(payerSeed), key, t);
  return new Writer().u32(payer).raw(key, 96).raw(proof, 48).raw(terms(t))
    .raw(edSign(payerSeed, message)).end();
}

/** The transaction that makes clients of grants. Anybody may submit it. */
export function grantsTransaction(network: Uint8Array, grants: Uint8Array[]): Bytes {
  const w = new Writer().tag("wb-txn/2").raw(network, 32).u8(5).u16(grants.length);
  for (const g of grants) w.raw(g, 236);
  return w.end();
}
