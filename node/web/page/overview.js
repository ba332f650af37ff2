// What an operator wants to know first: am I earning, is anything wrong, what should I do. The chart shows what the node
// keeps of the last hours, so it is there as soon as the page is.
"use strict";

let past = { span_seconds: 15, points: [] };

async function recall() {
  const response = await fetch("api/history");
  if (response.ok) past = await response.json();
}

const sumOf = (points, value) => points.reduce((sum, p) => sum + value(p), 0n);

// pastSpan is how far back the points go.
function pastSpan(s) {
  const first = past.points[0];
  return first ? Math.max(1, between(first.start, s.taken)) : 0;
}

// coarse is a span of time without its small parts.
function coarse(seconds) {
  if (seconds >= 5400) return `${Math.round(seconds / 3600)} h`;
  return seconds >= 90 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds)} s`;
}

// earning answers the first question in a word, and why it is so.
function earning(s, gained) {
  if (!s.node.registered) return ["no", "the ledger does not register this node", "warn"];
  if (!s.node.serving) return ["no", "this node takes no acks", "dim"];
  const failed = s.checks.some((c) => !c.ok);
  if (failed) return ["not now", "the node takes no acks until what is wrong is mended", "bad"];
  if (gained > 0n) return ["yes", "", "good"];
  if (answer(s, "accepted") > 0) return ["not yet", "acks were accepted, and their epoch is not settled", "dim"];
  return ["not yet", "no client has sent an ack", "dim"];
}

function showEarning(s) {
  const gained = sumOf(past.points, (p) => BigInt(p.earned));
  const [say, why, tone] = earning(s, gained);
  put($("earning"), { text: say + (why ? ": " + why : ""), tag: tone });
  put($("gained"), { text: credits(gained), title: exactCredits(gained) });
  put($("gained-in"), past.points.length ? `credits in ${coarse(pastSpan(s))}` : "credits so far");
  const last = (s.settlements ?? [])[0];
  const acks = past.points.reduce((sum, p) => sum + p.accepted, 0);
  facts("f-earning", [
    ["last settlement", last ? { text: `${credits(last.to_node)} in epoch ${last.epoch}`, title: exactCredits(last.to_node) + (last.at ? ", settled " + ago(last.at, s.taken) : "") } : "none yet"],
    ["acks accepted", count(acks, "acks, as far back as the chart")],
    ["waiting to be ordered", count(s.certify.pending ?? 0, "rollups")],
    ["balance", s.node.registered ? { text: credits(s.node.balance), title: `${exactCredits(s.node.balance)} of account ${s.node.owner}` } : "–"],
  ]);
}

// showWrong lists what fails and what warns, each with what to do about it.
function showWrong(s) {
  const bad = (c) => !c.ok || c.name === "stuck"; // which is about money
  const wrong = s.checks.filter((c) => !c.ok || c.warning).sort((a, b) => bad(b) - bad(a));
  put($("wrong"), wrong.length === 0 ? { text: "nothing is wrong", tag: "good" } : { text: `${wrong.length} of ${s.checks.length} checks ${wrong.length === 1 ? "needs" : "need"} attention`, tag: bad(wrong[0]) ? "bad" : "warn" });
  rows("t-wrong", wrong, (c) => c.name, (c) => [
    { text: c.name, tag: bad(c) ? "bad" : "warn", title: word("check", c.name).meaning },
    { text: c.detail, class: "detail" },
    { text: c.fatal && !c.ok ? "restart the node" : c.name === "stuck" ? "what the check says, before the epoch is settled" : word("check", c.name).advice || "read the detail", class: "do" },
  ], "There is nothing to do.");
}

// drawPast plots acks a second. Spans without a point, in which the node did not run, are gaps; those in which it was
// not ready are marked below the line.
function drawPast(s) {
  const WIDTH = 360; // of the chart, one column a minute
  const sums = new Map();
  const reach = WIDTH * 60;
  for (const p of past.points) {
    const column = WIDTH - 1 - Math.floor(between(p.start, s.taken) / 60);
    if (column < 0 || column >= WIDTH) continue;
    const sum = sums.get(column) ?? { acks: 0, spans: 0, down: false };
    sum.acks += p.accepted;
    sum.spans++;
    sum.down ||= !p.ready;
    sums.set(column, sum);
  }
  const rateOf = (c) => c.acks / (c.spans * past.span_seconds);
  const top = Math.max(1, ...[...sums.values()].map(rateOf));
  const y = (c) => (38 - (rateOf(c) / top) * 36).toFixed(2);
  let [line, area, down] = ["", "", ""];
  for (let x = 0; x < WIDTH; x++) {
    const c = sums.get(x);
    if (!c) continue;
    line += (sums.has(x - 1) ? "L" : "M") + x + " " + y(c) + "h1";
    area += `M${x} 40V${y(c)}h1V40Z`;
    if (c.down) down += `M${x} 39h1v1h-1Z`;
  }
  const acks = [...sums.values()].some((c) => c.acks > 0);
  const svg = $("past");
  for (const [i, d] of [area, line, down].entries()) svg.children[i].setAttribute("d", d);
  put($("past-from"), `${coarse(reach)} ago`);
  put($("past-peak"), past.points.length === 0 ? "no past yet" : acks ? `at most ${rate(top)} acks/s` : "no acks");
}

section((s) => {
  showEarning(s);
  showWrong(s);
  drawPast(s);
});
recall();
setInterval(() => document.hidden || recall(), 15000);
