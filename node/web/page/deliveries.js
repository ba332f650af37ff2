// What the node delivers, and what of it is acknowledged. It is shown where content is served.
"use strict";

function showDeliveries(s) {
  const c = s.content;
  $("deliveries").hidden = !c.on;
  if (!c.on) return;
  const sent = perSecond("sent");
  put($("sent-rate"), { text: bytes(Math.round(sent)), title: exact(Math.round(sent)) + " bytes per second" });
  const points = series("sent");
  draw($("sent-chart"), points);
  put($("sent-peak"), points.length ? "peak " + bytes(Math.round(Math.max(...points.map((p) => p[1])))) + "/s" : "");
  const asked = c.hits + c.misses;
  const data = (v, title) => ({ text: bytes(v), title: exact(v) + " bytes" + (title ? " " + title : "") });
  facts("f-deliveries", [
    ["streams", { text: `${human(c.open)} of ${human(c.sessions)} sessions`, title: `${exact(c.streams)} since the start, which waited ${exact(c.waits)} times for an ack` }],
    ["sent", data(c.sent)],
    ["acknowledged", { text: c.sent ? share(Math.min(1, c.paid / c.sent)) : "–", title: exact(c.paid) + " bytes" }],
    ["ahead of acks", data(c.outstanding, "in sessions that are open")],
    ["owed", { ...data(c.owed, `by ${exact(c.debtors)} clients, of sessions that ended`), class: c.owed > c.paid / 10 && c.owed > 1 << 26 ? "warn" : "" }],
    ["without acks", data(c.plain, "to callers without a session")],
    ["cache hits", asked ? { text: share(c.hits / asked), title: `${exact(c.hits)} of ${exact(asked)} contents were there` } : "–"],
    ["stored", { text: bytes(c.stored), title: `${exact(c.contents)} contents, ${exact(c.stored)} bytes` }],
    ["this month", c.volume ? { text: `${bytes(c.month)} of ${bytes(c.volume)}`, class: c.month >= c.volume ? "bad" : c.month > 0.9 * c.volume ? "warn" : "" } : data(c.month)],
  ]);
  rows("t-payers", c.payers ?? [], (p) => p.payer, (p) => {
    const whole = p.paid + p.outstanding + p.owed;
    return [
      "account " + p.payer,
      data(p.paid),
      { fill: whole ? p.paid / whole : 0 },
      { text: whole ? share(p.paid / whole) : "–", title: `${exact(p.paid)} of ${exact(whole)} bytes` },
      { ...data(p.outstanding), class: p.outstanding ? "" : "dim" },
      { ...data(p.owed), class: p.owed ? "" : "dim" },
    ];
  }, "Nobody was served yet.");
  const why = new Map();
  for (const list of [c.refusals, c.aborts]) {
    for (const r of list ?? []) why.set(r.name, (why.get(r.name) ?? 0) + r.count);
  }
  const refused = [...why].filter(([, n]) => n).sort((a, b) => b[1] - a[1]).slice(0, 6);
  put($("delivery-refusals"), refused.length ? "Refused or broken off: " + refused.map(([name, n]) => `${name} ${human(n)}`).join(", ") + "." : "");
}

section(showDeliveries);
