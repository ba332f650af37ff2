// What a payer was charged: where, by whom, and the files that prove it.
"use strict";

const EVERY = 5000; // milliseconds between two looks, while somebody looks
const named = /^(?:[0-9]{1,10}|[0-9a-f]{64})$/;
const account = decodeURIComponent(location.pathname.split("/").at(-1));
const before = new URLSearchParams(location.search).get("before");

const money = (v) => ({ text: credits(v), title: exactCredits(v) });
const faint = (v, cell) => (v === 0n ? { ...cell, class: "dim" } : cell);
const sum = (list, of) => list.reduce((s, x) => s + of(x), 0n);
const amount = (c) => BigInt(c.amount);
const paid = (c) => BigInt(c.paid);
const units = (v, unit) => (unit === "byte" ? { text: bytes(Number(v)), title: exact(String(v)) + " bytes" } : count(String(v), unit));

function showPayer(p) {
  $("problem").hidden = true;
  for (const id of ["money", "where", "epochs", "charges"]) $(id).hidden = false;
  put($("name"), `Account ${p.index}`);
  put($("who"), { hash: p.key });
  document.title = `Account ${p.index} – Waybill`;
  const charges = p.epochs.flatMap((e) => e.charges.map((c) => ({ ...c, epoch: e.epoch })));
  const [first, last] = [p.epochs.at(-1)?.epoch, p.epochs[0]?.epoch];
  const span = first === undefined ? "in no epoch that is kept" : first === last ? `in epoch ${first}` : `in epochs ${first} to ${last}`;
  put($("spent"), money(sum(charges, paid)));
  put($("spent-in"), "credits paid " + span);
  facts("f-money", [
    ["reserve", { ...money(p.reserve), class: p.reserve === "0" ? "warn" : "" }],
    ["of it committed", money(p.committed)],
    ["balance", money(p.balance)],
    ["thawing", p.thawing === "0" ? "–" : { text: `${credits(p.thawing)}, free with epoch ${p.thaw_epoch}`, title: exactCredits(p.thawing) }],
    ["allowance of a node", { text: `${credits(p.allowance)} an epoch`, title: exactCredits(p.allowance) }],
    ["from the next epoch on", money(p.next_allowance)],
    ["epoch that runs", p.epoch],
  ]);
  put($("where-of"), span);
  showWhere(charges);
  showEpochs(p);
  const most = 300;
  rows("t-charges", charges.slice(0, most), (c) => `${c.epoch}/${c.node}/${c.service}`, (c) => [
    c.epoch, `node ${c.node}`, `${c.service}: ${c.unit}`, count(c.acks, "acks"), units(c.units, c.unit),
    { text: credits(c.price), title: exactCredits(c.price) + " for 2^20 units" }, money(c.amount), money(c.paid),
  ], "Nobody has charged this account in the epochs that are kept.");
}

function showWhere(charges) {
  const all = new Map();
  for (const c of charges) {
    const key = `${c.node}/${c.service}`;
    const x = all.get(key) ?? { node: c.node, service: c.service, unit: c.unit, acks: 0n, units: 0n, paid: 0n };
    x.acks += BigInt(c.acks), x.units += BigInt(c.units), x.paid += paid(c);
    all.set(key, x);
  }
  const list = [...all.values()].sort((a, b) => (a.paid < b.paid ? 1 : a.paid > b.paid ? -1 : a.node - b.node));
  const whole = Number(sum(list, (x) => x.paid));
  rows("t-where", list, (x) => `${x.node}/${x.service}`, (x) => [
    `node ${x.node}`, `${x.service}: ${x.unit}`, { fill: whole ? Number(x.paid) / whole : 0 },
    count(String(x.acks), "acks"), units(x.units, x.unit), money(x.paid),
  ], "Nothing was paid in the epochs that are kept.");
}

function showEpochs(p) {
  rows("t-epochs", p.epochs, (e) => e.epoch, (e) => {
    const [asked, left, got] = [sum(e.charges, amount), sum(e.charges, (c) => BigInt(c.allowed)), sum(e.charges, paid)];
    return [
      e.epoch,
      e.signed ? { text: "certified", tag: "good" } : e.settled ? { text: "settled", tag: "warn", title: "waits for its certificate" } : { text: "so far", tag: "dim", title: "what blocks have ordered of it; it is settled later" },
      new Set(e.charges.map((c) => c.node)).size,
      money(asked),
      faint(asked - left, money(asked - left)),
      left === got ? { ...money(0n), class: "dim" } : { ...money(left - got), class: "bad" },
      money(got),
      { text: e.signed ? "" : "when certified", class: "dim" },
    ];
  }, "Nobody has charged this account in the epochs that are kept.");
  p.epochs.forEach((e, i) => e.signed && files($("t-epochs").tBodies[0].rows[i].cells[7], p.index, e.epoch));
  const older = $("older");
  if (p.older !== null) older.replaceChildren(element("a", { href: `?before=${Number(p.older)}`, textContent: "older epochs" }));
  else older.replaceChildren();
}

// files fills a cell with links; addresses are made of numbers.
function files(cell, payer, epoch) {
  if (cell.querySelector("a")) return;
  const link = (href, text, what) => element("a", { href, download: "", textContent: text, ariaLabel: `${what} of epoch ${epoch}` });
  cell.className = "files";
  cell.replaceChildren(link(`../api/invoice/${payer}/${epoch}.csv`, "CSV", "invoice as CSV"), " ",
    link(`../api/invoice/${payer}/${epoch}.json`, "JSON", "invoice as JSON"), " ",
    link(`../api/settlement/${epoch}.wbx`, "proof", "certified settlement"));
}

function problem(text) {
  put($("problem"), text);
  $("problem").hidden = false;
}

async function look() {
  if (document.hidden) return;
  try {
    const query = /^[0-9]{1,10}$/.test(before ?? "") ? "?before=" + before : "";
    const answer = await fetch(`../api/payer/${account}${query}`);
    if (answer.status === 404) problem("The ledger of this node has no such account.");
    else if (!answer.ok) problem(`The node answered ${answer.status}. Trying again.`);
    else showPayer(await answer.json());
  } catch {
    problem("No answer from the node. Trying again.");
  }
}

$("find").addEventListener("submit", (e) => {
  e.preventDefault();
  const wanted = $("account").value.trim().toLowerCase();
  if (named.test(wanted)) location.assign(wanted);
});

if (named.test(account)) {
  $("account").value = account;
  look();
  setInterval(look, EVERY);
  document.addEventListener("visibilitychange", look);
} else if (account) {
  problem("This is no account: want its index, or its key of 64 digits.");
} else {
  put($("who"), "what was spent, where, with proofs");
  $("account").focus();
}
