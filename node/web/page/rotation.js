// A committee that rotates: who has which seat and until when, where the epoch's draw stands, and who finds whom healthy.
// It is shown when the network rotates.
"use strict";

// The parts of an epoch, by the shares of its time in which they are.
const parts = [
  { name: "reports", phases: ["reports"], from: 0, to: 0.5, done: (d, r) => r.phase === "reports" ? `${d.reported} of ${d.members} members` : "" },
  { name: "seed and draw", phases: ["reveals", "ready"], from: 0.5, to: 0.8, done: (d, r) =>
    r.phase === "reveals" ? `${d.revealed} of ${d.announced} reveals${r.round ? `, round ${r.round + 1}` : ""}` :
    r.phase === "ready" ? (d.asked ? `${d.ready} of ${d.asked} new winners ready` : "drawn") : "" },
  { name: "hand-over", phases: ["hand_over", "certified"], from: 0.8, to: 1, done: (d, r) =>
    r.phase === "hand_over" ? "votes sign it" : r.phase === "certified" ? "signed" : "" },
];

const standings = {
  candidate: ["candidate", "good", "it can be drawn"],
  new: ["new", "", "a candidate from the next epoch on"],
  jailed: ["jailed", "bad", "it announced a reveal and did not make it, or was absent: its owner takes it out when its time is over"],
  poor: ["stake too low", "warn", "below the least stake of a candidate"],
  gone: ["gone", "bad", "it leaves, or was convicted by its own words"],
  none: ["does not stand", "", "its owner has it stand: waybill node stand"],
};

// hue tells neighbours apart; the number in a seat says who it is.
const hue = (node) => (node * 137.5) % 360;

function showRotation(s) {
  const r = s.rotation;
  $("rotation").hidden = !r;
  if (!r) return;
  put($("rotation-term"), `term ${r.term}, ${r.seats} seats, each drawn anew every ${r.term_epochs} epochs`);
  showPhase(s, r);
  showSeats(s, r);
  showHealth(s, r);
}

function showPhase(s, r) {
  const long = between(s.epoch.start, s.epoch.end);
  const gone = long > 0 ? Math.min(1, Math.max(0, between(s.epoch.start, s.taken) / long)) : 0;
  const now = parts.findIndex((p) => p.phases.includes(r.phase));
  const list = $("phases");
  parts.forEach((p, i) => {
    const item = list.children[i] ?? list.appendChild(element("li", {}, element("div", { className: "bar" }, element("i")), element("b"), element("span")));
    item.style.setProperty("flex-grow", Math.round((p.to - p.from) * 100));
    item.classList.toggle("now", i === now);
    if (i === now) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
    item.children[0].firstElementChild.style.setProperty("--fill", Math.min(1, Math.max(0, (gone - p.from) / (p.to - p.from))));
    put(item.children[1], p.name);
    put(item.children[2], i === now ? p.done(r.done, r) : now >= 0 && i < now ? "done" : "");
  });
  const late = r.epoch < s.epoch.number;
  put($("phase"), r.phase === "idle" ? { text: `Epoch ${r.epoch}: no seat moves in what is left of it`, class: "dim" } :
    { text: `Epoch ${r.epoch}: ${r.phase === "certified" ? "the hand-over takes place when it ends" : parts[now]?.name ?? r.phase}${late ? ", late" : ""}`, class: late ? "warn" : "" });
}

// sentence says all of a seat.
function sentence(seat, i) {
  const who = (n) => (n === null ? "nobody" : `node ${n}`);
  const why = seat.mark === "due" ? ", because its turn was put off" : seat.mark === "stayed" ? ", because its winner was not ready" : "";
  return `seat ${i}: ${who(seat.holder)}; drawn in epoch ${seat.drawn}${why}${seat.moves ? `; from the next term on ${who(seat.to)}` : ""}`;
}

function showSeats(s, r) {
  const list = $("sits");
  while (list.children.length > r.sits.length) list.lastElementChild.remove();
  const first = Math.min(...r.sits.map((x) => x.drawn));
  r.sits.forEach((seat, i) => {
    const item = list.children[i] ?? list.appendChild(element("li", {}, element("b"), element("small")));
    const own = s.node.registered && seat.holder === s.node.index;
    item.className = "seat" + (own ? " own" : "") + (seat.holder === null ? " empty" : "") + (seat.moves ? " moves" : seat.drawn === first ? " next" : "");
    item.style.setProperty("--hue", seat.holder === null ? 0 : hue(seat.holder));
    put(item.children[0], { text: seat.holder ?? "–", title: sentence(seat, i) });
    put(item.children[1], seat.moves ? `→ ${seat.to ?? "–"}` : `e${seat.drawn}`);
    item.setAttribute("aria-label", sentence(seat, i));
  });
  const moves = r.sits.filter((x) => x.moves).length;
  put($("sits-note"), (moves ? `${moves} of ${r.seats} seats move with the next term. ` : "") +
    `Each square is a seat: the node that has it, and the epoch in which it is drawn anew. Dashed: drawn in the next draw, of epoch ${first}.` +
    (s.node.registered ? ` Filled: this node's, ${r.held} of them.` : "") +
    (r.nodes.length >= 64 ? " Of the nodes below there are more: those with the most seats are shown." : ""));
}

const nodesText = (list) => (list.length === 1 ? `node ${list[0]}` : list.length > 12 ? `${list.length} members` : `nodes ${list.join(", ")}`);

const visits = (v) => (v ? ` + ${v.served} of ${v.asked - v.refused}` : "");

function showHealth(s, r) {
  const probed = new Map((r.probed ?? []).map((p) => [p.node, p]));
  rows("t-rotation", r.nodes, (n) => n.node, (n) => {
    const said = n.healthy.length + n.unhealthy.length;
    const p = probed.get(n.node);
    const [text, tag, title] = standings[n.standing] ?? [n.standing, "", ""];
    return [
      n.node + (s.node.registered && n.node === s.node.index ? " (self)" : ""),
      { text: n.next === n.seats ? n.seats : `${n.seats} → ${n.next}`, title: `${share(n.seats / r.seats)} of the power` },
      { fill: n.seats / r.seats },
      tag ? { text, tag, title } : { text, title, class: "dim" },
      said === 0 ? { text: "–", title: "no report that the chain still has is about it", class: "dim" } :
      { text: `${n.healthy.length} of ${said}`, title: `in epoch ${n.epoch}` + (n.healthy.length ? ", by " + nodesText(n.healthy) : ""), class: n.healthy.length ? "" : "bad" },
      n.unhealthy.length ? { text: nodesText(n.unhealthy), title: `members, in epoch ${n.epoch}`, class: "bad" } : { text: "–", class: "dim" },
      p ? { text: `${p.answered} of ${p.asked}` + visits(p.visited), title: (p.answered ? `half within ${duration(p.median_ns / 1e9)}` : "") + (p.why ? ` last failure: ${p.why}` : "") + (p.visited ? ` as a client: served ${p.visited.served} of ${p.visited.asked}` + (p.visited.why ? `, last failure: ${p.visited.why}` : "") : ""), class: p.healthy ? "" : "bad" } : { text: "–", class: "dim" },
    ];
  }, "No node stands for the committee.");
}

section(showRotation);
