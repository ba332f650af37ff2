// The dashboard's only script: takes snapshots from /events and writes them into the page. Text is set only where it
// changed, so that selections and focus survive; nothing from the node is ever parsed as HTML.
"use strict";

const SPAN = 120; // seconds of history
const STALE_AFTER = 3500; // milliseconds without a snapshot
const $ = (id) => document.getElementById(id);

// ---- numbers for people; the exact value goes into the title ----

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
const exact = (v) => (typeof v === "string" ? grouped.format(BigInt(v)) : grouped.format(v));

function human(v) {
  v = Number(v);
  for (const [unit, size] of [["E", 1e18], ["P", 1e15], ["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    // From 10,000 on, so that small counts stay exact.
    if (Math.abs(v) >= size * (unit === "k" ? 10 : 1)) return digits(v / size) + unit;
  }
  return Number.isInteger(v) ? grouped.format(v) : digits(v);
}
const digits = (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : v.toFixed(1));

function rate(v) {
  if (v >= 1000) return digits(v / (v >= 1e6 ? 1e6 : 1e3)) + (v >= 1e6 ? "M" : "k");
  return v === 0 || v >= 10 ? v.toFixed(0) : v.toFixed(1);
}

function bytes(v) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (v >= 1024 && i < units.length - 1) (v /= 1024), i++;
  return (i === 0 ? v : digits(v)) + " " + units[i];
}

function duration(s) {
  const sign = s < 0 ? "−" : "";
  s = Math.abs(s);
  if (s === 0) return "0 s";
  if (s < 0.001) return sign + (s * 1e6).toFixed(0) + " µs";
  if (s < 1) return sign + digits(s * 1e3) + " ms";
  if (s < 60) return sign + s.toFixed(1) + " s";
  if (s < 3600) return `${sign}${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${sign}${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${sign}${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// Amounts are strings of micro-credits.
function credits(v) {
  const c = Number(BigInt(v)) / 1e6;
  return c >= 1e5 ? human(c) : c.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: c > 0 && c < 0.01 ? 6 : 2 });
}
function exactCredits(v) {
  const n = BigInt(v);
  return `${grouped.format(n / 1000000n)}.${String(n % 1000000n).padStart(6, "0")} credits`;
}
const at = (t) => (t ? Date.parse(t) : NaN);
const between = (from, to) => (at(to) - at(from)) / 1000;

// ago is coarse on purpose: a column of it should not flicker.
function ago(t, now) {
  if (!t) return "never";
  const s = Math.max(0, Math.round(between(t, now)));
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (s >= 2 * size) return `${Math.floor(s / size)} ${unit} ago`;
  }
  return `${s} s ago`;
}

// ---- writing into the page ----

// A cell is text, or {text, title, class, hash, tag, spark, fill}.
function put(node, cell) {
  const c = cell !== null && typeof cell === "object" ? cell : { text: cell };
  if (c.hash !== undefined) return putHash(node, c.hash);
  if (c.spark) return draw(node.firstElementChild ?? node.appendChild(spark()), c.spark);
  if (c.fill !== undefined) {
    const bar = node.firstElementChild ?? node.appendChild(element("div", { className: "bar" }, element("i")));
    return bar.style.setProperty("--fill", c.fill);
  }
  const to = c.tag ? node.firstElementChild ?? node.appendChild(element("span")) : node;
  const text = String(c.text ?? "–");
  if (to.textContent !== text) to.textContent = text;
  if ((to.title || "") !== (c.title ?? "")) to.title = c.title ?? "";
  if (c.tag) to.className = "tag " + c.tag;
  else if (c.class !== undefined) {
    to.classList.remove("dim", "good", "warn", "bad", "code", "detail");
    if (c.class) to.classList.add(c.class);
  }
}

function element(name, props, ...children) {
  const e = Object.assign(document.createElement(name), props);
  e.append(...children);
  return e;
}

function putHash(node, hash) {
  if (!hash) {
    if (node.textContent !== "–") node.replaceChildren("–");
    return;
  }
  let b = node.firstElementChild;
  if (!b) {
    node.replaceChildren((b = element("button", { type: "button", className: "hash" })));
    b.addEventListener("click", () => copy(b));
  }
  if (b.value === hash) return;
  b.value = hash;
  b.textContent = hash.slice(0, 8) + "…";
  b.title = hash + ", click to copy";
  b.setAttribute("aria-label", "copy " + hash.slice(0, 8));
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.value);
  } catch {
    // Without TLS browsers keep the clipboard away; the old way still works.
    const area = element("textarea", { value: button.value, className: "sr" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "copied";
  setTimeout(() => (button.textContent = button.value.slice(0, 8) + "…"), 900);
}

// rows makes a table's body show the items in order, keeping the rows of items that stay.
function rows(id, items, key, cells, none) {
  const table = $(id);
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const old = new Map([...body.rows].map((r) => [r.dataset.key, r]));
  const want = items.map((item) => {
    const k = String(key(item));
    let row = old.get(k);
    if (!row) {
      row = element("tr");
      row.dataset.key = k;
      heads.forEach((h, i) => {
        const cell = element(i === 0 ? "th" : "td", { className: h.className.replace("trend", "") });
        if (i === 0) cell.scope = "row";
        row.append(cell);
      });
    }
    cells(item).forEach((c, i) => put(row.cells[i], c));
    return row;
  });
  if (want.length === 0 && none) {
    const row = old.get("none") ?? element("tr", {}, element("td", { className: "empty", colSpan: heads.length, textContent: none }));
    row.dataset.key = "none";
    want.push(row);
  }
  if (want.length !== body.rows.length || want.some((r, i) => body.rows[i] !== r)) body.replaceChildren(...want);
}

// facts fills a description list: [term, cell] pairs.
function facts(id, pairs) {
  const list = $(id);
  while (list.children.length > pairs.length) list.lastElementChild.remove();
  pairs.forEach(([term, cell], i) => {
    const div = list.children[i] ?? list.appendChild(element("div", {}, element("dt"), element("dd")));
    put(div.children[0], term);
    put(div.children[1], { class: "", ...(cell !== null && typeof cell === "object" ? cell : { text: cell }) });
  });
}

const count = (v, title) => ({ text: human(v), title: exact(v) + (title ? " " + title : "") });

// ---- sparklines ----

function spark() {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  for (const [k, v] of [["class", "spark"], ["viewBox", "0 0 120 40"], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) svg.setAttribute(k, v);
  for (const c of ["area", "line"]) svg.appendChild(document.createElementNS(ns, "path")).setAttribute("class", c);
  return svg;
}

// draw plots points [seconds ago, value]; the right edge is now.
function draw(svg, points) {
  const top = Math.max(1, ...points.map((p) => p[1]));
  const xy = points.map(([age, v]) => `${(SPAN - age).toFixed(2)} ${(39 - (v / top) * 37).toFixed(2)}`);
  const [area, line] = svg.children;
  line.setAttribute("d", xy.length > 1 ? "M" + xy.join("L") : "");
  area.setAttribute("d", xy.length > 1 ? `M${(SPAN - points[0][0]).toFixed(2)} 40L${xy.join("L")}L${(SPAN - points.at(-1)[0]).toFixed(2)} 40Z` : "");
  return top;
}

// ---- history: counters of the last two minutes ----

let samples = []; // {t: seconds, started, counters: {name: value}}

function remember(s) {
  const counters = { accepted: answer(s, "accepted") };
  for (const st of stages(s)) {
    counters[st.name] = st.acks;
    counters["busy " + st.name] = st.busy_seconds;
  }
  const sample = { t: at(s.taken) / 1000, started: s.started, counters };
  const last = samples.at(-1);
  if (last && (last.started !== s.started || last.t > sample.t)) samples = []; // another process: its counters begin anew
  if (last?.t !== sample.t) samples.push(sample);
  while (samples.length > 2 && samples[0].t < sample.t - SPAN - 1) samples.shift();
}

// What the pipeline and the outbox say each, in one list.
const stages = (s) => (s.pipeline.stages ? [...s.pipeline.stages, s.certify.prove, s.certify.certify] : []);
const windowsOf = (s) => [...(s.pipeline.windows ?? []), ...(s.certify.windows ?? [])];

// words explains the names of states, stages, checks and codes: the node's own list of them.
let words = [];
const word = (set, name) => words.find((w) => w.set === set && w.name === name) ?? { meaning: "", tone: "" };

async function learn() {
  const response = await fetch("api/vocabulary");
  words = await response.json();
  rows("t-words", words, (w) => w.set + "/" + w.name, (w) => [
    { text: w.name, class: "code" },
    w.set,
    { text: w.meaning + (w.advice ? ". What to do: " + w.advice : ""), class: "detail" },
  ]);
}

const answer = (s, name) => s.pipeline.answers?.find((a) => a.name === name)?.count ?? 0;

// perSecond is the growth of a counter over the last three seconds.
function perSecond(name) {
  const last = samples.at(-1);
  const from = samples.find((p) => p.t >= last.t - 3.2);
  return from && from !== last ? (last.counters[name] - from.counters[name]) / (last.t - from.t) : 0;
}

function series(name) {
  const now = samples.at(-1)?.t;
  const out = [];
  for (let i = 1; i < samples.length; i++) {
    const [a, b] = [samples[i - 1], samples[i]];
    out.push([Math.min(SPAN, now - b.t), (b.counters[name] - a.counters[name]) / (b.t - a.t)]);
  }
  return out;
}

// ---- the sections ----

function showHead(s) {
  put($("name"), s.node.name || "Waybill");
  put($("who"), s.node.chain_id ? `node ${s.node.index} of ${s.node.chain_id}` : "");
  put($("clock"), new Date(s.taken).toLocaleTimeString());
  showAlarm(s);
  const failed = s.checks.filter((c) => !c.ok);
  const lost = stuckWindows(s);
  const state = $("state");
  put(state, failed.length ? "not ready: " + failed.map((c) => c.name).join(", ") : lost.length ? `${lost.length} window${lost.length > 1 ? "s" : ""} stuck` : s.node.serving ? "ready" : "ready, not serving");
  state.className = "pill " + (failed.length || lost.length ? "unready" : "ready");
  document.title = `${failed.length || lost.length ? "✕ " : ""}${s.node.name || "Waybill"} · Waybill`;
}

function showPipeline(s) {
  const accepted = perSecond("accepted");
  put($("rate"), { text: rate(accepted), title: exact(Math.round(accepted * 10) / 10) + " acks per second" });
  const points = series("accepted");
  draw($("chart"), points);
  put($("peak"), points.length ? "peak " + rate(Math.max(...points.map((p) => p[1]))) + "/s" : "");
  const b = s.pipeline.budget;
  facts("f-flow", [
    ["in flight", { text: `${human(b.acks)} of ${human(b.max_acks)}`, title: `${exact(b.acks)} of ${exact(b.max_acks)} acks` }],
    ["memory", { text: `${bytes(b.bytes)} of ${bytes(b.max_bytes)}`, title: `${exact(b.bytes)} of ${exact(b.max_bytes)} bytes` }],
    ["connections", count(b.sources)],
  ]);
  rows("t-stages", stages(s), (st) => st.name, (st) => {
    const r = perSecond(st.name);
    const late = st.oldest_seconds > 5 && !st.answered;
    return [
      { text: st.name, title: word("stage", st.name).meaning },
      { text: rate(r), title: exact(Math.round(r * 10) / 10) + " acks per second" },
      { spark: series(st.name) },
      { ...count(st.queued, "acks"), class: st.queued ? "" : "dim" },
      { text: st.oldest_seconds ? duration(st.oldest_seconds) : "–", class: late ? "bad" : st.oldest_seconds ? "" : "dim" },
      count(st.batch_acks, "acks in the last batch"),
      st.last_seconds ? duration(st.last_seconds) : "–",
      { text: Math.round(perSecond("busy " + st.name) * 100) + "%", title: "of one core" },
      count(st.acks, `acks in ${exact(st.batches)} batches; ${exact(st.refused)} refused`),
    ];
  });
}

// cosigning tells how clients answered when their windows had closed.
function cosigning(c) {
  if (!c?.on) return [["co-signing", "off"]];
  const refusals = (c.refusals ?? []).filter((r) => r.count > 0).map((r) => `${exact(r.count)} ${r.name}`);
  const lies = (c.refusals ?? []).some((r) => r.count > 0 && r.name !== "declined");
  return [["co-signed", {
    text: `${human(c.signed)} of ${human(c.asked)}`,
    title: `${exact(c.signed)} signatures of ${exact(c.asked)} clients asked, through ${exact(c.sessions)} sessions now; ${exact(c.silent)} did not answer in time` +
      (refusals.length ? "; refused: " + refusals.join(", ") : "") + (c.garbage ? `; ${exact(c.garbage)} sessions barred` : ""),
    class: lies || c.garbage ? "bad" : "",
  }]];
}

const stuckWindows = (s) => windowsOf(s).filter((w) => w.reason);

// showStuck says loudly which windows were accepted and will not be paid, and what can be done.
function showStuck(s) {
  const lost = stuckWindows(s);
  const box = $("stuck");
  box.hidden = lost.length === 0;
  const text = lost.slice(0, 3).map((w) => `Window ${w.epoch}/${w.window} is stuck: its ${exact(w.acks)} acks were accepted and will not be paid. ${w.error}. What to do: ${w.advice}.`);
  if (lost.length > 3) text.push(`${lost.length - 3} more are stuck.`);
  put(box, text.join(" "));
}


// showAlarm says loudly that a proof is false, for as long as the check says so.
function showAlarm(s) {
  const alarm = s.checks.find((c) => c.name === "alarm");
  const box = $("alarm");
  box.hidden = !alarm || alarm.ok;
  put(box, box.hidden ? "" : alarm.detail);
}

function showWindows(s) {
  const windows = windowsOf(s);
  showStuck(s);
  const open = windows.filter((w) => w.state === "open");
  const box = $("open");
  while (box.children.length > open.length) box.lastElementChild.remove();
  open.forEach((w, i) => {
    const div = box.children[i] ?? box.appendChild(element("div", {}, element("p", {}, element("b"), element("span")), element("div", { className: "bar" }, element("i"))));
    const [line, bar] = div.children;
    const left = between(s.taken, w.closes);
    put(line.children[0], `Window ${w.epoch}/${w.window}`);
    put(line.children[1], {
      text: `${human(w.acks)} of ${human(w.max_acks)} acks, ` + (left > 0 ? `closes in ${duration(Math.ceil(left))}` : "closing"),
      title: `${exact(w.acks)} acks, ${exact(w.units)} units, ${w.rows} rows`,
    });
    div.className = w.state;
    bar.style.setProperty("--fill", w.max_acks ? w.acks / w.max_acks : 0);
    for (const [k, v] of [["role", "progressbar"], ["aria-label", `window ${w.epoch}/${w.window}`], ["aria-valuemin", 0], ["aria-valuemax", w.max_acks], ["aria-valuenow", w.acks]]) bar.setAttribute(k, v);
  });
  const [r, member] = [s.certify, s.member];
  const sealed = stages(s).find((st) => st.name === "seal")?.batches ?? 0;
  const refusedAsMember = (member.refusals ?? []).filter((x) => x.count > 0);
  facts("f-rollups", [
    ["sealed", count(sealed)],
    ["certified", count(r.certified)],
    ["ordered", count(r.ordered)],
    ["pending", { text: r.pending ? `${human(r.pending)}, oldest ${duration(r.oldest_seconds)}` : "0", class: r.oldest_seconds > 120 ? "bad" : "" }],
    ["acks by rung", { text: `${r.rung_acks.map((n) => human(n)).join(" · ")}`, title: `what the committee verified: rung 1, one by one: ${exact(r.rung_acks[0])} acks; rung 2, co-signed statements: ${exact(r.rung_acks[1])} acks; rung 3, proofs of such statements: ${exact(r.rung_acks[2])} acks` }],
    ...cosigning(s.cosign),
    ...(r.states ?? []).filter((x) => x.count > 0 && word("state", x.name).tone === "bad").map((x) => [x.name, { ...count(x.count, "windows"), class: "bad" }]),
    ["signed as member", count(member.signed, "rollups")],
    ...refusedAsMember.map((x) => ["refused as member: " + x.name, { ...count(x.count, word("member refusal", x.name).meaning), class: "bad" }]),
    ["evidence pulled", { ...count(member.pulls.pulled, `rollups; ${exact(member.pulls.failed)} tries failed, ${exact(member.pulls.dropped)} given up, ${exact(member.pulls.wanted)} wanted`) }],
  ]);
  showProofs(s);
  const done = windows.filter((w) => !open.includes(w)).sort((a, b) => (b.reason ? 1 : 0) - (a.reason ? 1 : 0)).slice(0, 10);
  rows("t-windows", done, (w) => w.epoch + "/" + w.window, (w) => {
    const took = w.ordered ? duration(between(w.sealed, w.ordered)) : w.sealed ? "…" : "–";
    let share = w.state === "collecting" && w.quorum ? ` ${Math.min(100, Math.round((100 * w.power) / w.quorum))}%` : "";
    if (w.state === "proving" && w.segments) share = ` ${w.proven} of ${w.segments}`;
    if (w.reason) share = ": " + w.reason;
    return [
      { text: `${w.epoch}/${w.window}`, title: `epoch ${w.epoch}, window ${w.window}` },
      { text: w.state + share, tag: word("state", w.state).tone || "dim", title: w.error ? `${w.error}. ${w.advice}` : w.quorum ? `power ${exact(w.power)} of ${exact(w.quorum)} for a quorum` : "" },
      count(w.acks - w.cosigned, `acks of ${exact(w.acks)}, verified one by one`),
      { ...count(w.cosigned, `acks of ${exact(w.acks)}, under statements that their clients co-signed (${exact(w.statements)} were offered)`), class: w.cosigned ? "" : "dim" },
      { text: ["–", "acks", "statements", "proof"][w.rung], title: rungTitle[w.rung] + (w.proof_failure ? "; no proof: " + w.proof_failure : ""), class: w.rung ? "" : "dim" },
      count(w.units, `units in ${w.rows} rows`),
      { hash: w.root },
      { hash: w.id },
      { text: took, title: w.sealed ? `sealed ${w.sealed}${w.ordered ? ", ordered " + w.ordered : ""}` : "" },
    ];
  }, "No window has been sealed yet.");
}

const rungTitle = { 0: "not sealed yet", 1: "every ack is verified", 2: "co-signed statements are verified", 3: "a proof of co-signed statements is verified" };

function showProofs(s) {
  const [p, made] = [s.proving, s.certify];
  const lost = (made.proof_failures ?? []).filter((f) => f.count > 0);
  const missing = (p.keys ?? []).filter((k) => !k.found);
  const busy = windowsOf(s).filter((w) => w.segments && w.proven < w.segments && !w.proof_failure && w.rung < 3);
  facts("f-proofs", [
    ...(!p.on ? [["prover", (p.keys ?? []).length ? "proofs are checked, not made" : "no keys in the genesis file"]] : [
      ["prover", { text: p.prover.stage, class: p.prover.stage === "failed" ? "warn" : "", title: `${exact(p.prover.starts)} started, ${duration(p.prover.seconds)} at work, ${bytes(p.prover.peak_memory)} at most` }],
      ["proving", busy.length ? busy.map((w) => `${w.epoch}/${w.window}: ${w.proven} of ${w.segments}`).join(", ") : "nothing"],
      ["queue", { text: made.proof_queue ? `${human(made.proof_queue)}, oldest ${duration(made.prove.oldest_seconds)}` : "0", title: `windows wait at most ${duration(p.wait_seconds)} for their proofs` }],
      ["windows proved", count(made.prove.batches, `windows with ${exact(made.proofs)} proofs, the last in ${duration(made.prove.last_seconds)}`)],
    ]),
    ...lost.map((f) => ["no proof: " + f.name, { ...count(f.count, "windows: " + word("no proof", f.name).meaning), class: "warn" }]),
    ...missing.map((k) => ["key missing", { text: `${k.statements} statements`, title: k.key, class: "warn" }]),
    ...(p.development ? [["keys", { text: "for development", class: "warn" }]] : []),
  ]);
}

function showAnswers(s) {
  const answers = s.pipeline.answers ?? [];
  const refused = answers.filter((a) => a.name !== "accepted" && a.name !== "known" && a.count > 0).sort((a, b) => b.count - a.count);
  const sum = (list) => list.reduce((n, a) => n + a.count, 0);
  const [total, bad] = [sum(answers), sum(refused)];
  facts("f-answers", [
    ["accepted", count(answer(s, "accepted"), "acks")],
    ["known", count(answer(s, "known"), "acks sent again")],
    ["refused", { text: human(bad) + (total ? ` (${share(bad / total)})` : ""), title: `${exact(bad)} of ${exact(total)} acks` }],
  ]);
  rows("t-answers", refused, (a) => a.name, (a) => [
    { text: a.name, class: "code", title: word("answer", a.name).meaning },
    { fill: a.count / refused[0].count },
    { text: human(a.count), title: `${exact(a.count)} acks, ${share(a.count / bad)} of the refusals` },
  ], "No ack was refused.");
  const q = s.pipeline.quarantine;
  const named = q.clients ?? [];
  put($("quarantine"), q.total ? `${human(q.total)} client${q.total > 1 ? "s" : ""} verified apart for bad signatures: ${named.join(", ")}${q.total > named.length ? ", …" : ""}` : "");
}

const share = (x) => (x === 0 ? "0%" : x < 0.0001 ? "<0.01%" : x < 0.1 ? (x * 100).toFixed(2) + "%" : (x * 100).toFixed(0) + "%");

function showEpoch(s) {
  const e = s.epoch;
  const [long, gone] = [between(e.start, e.end), between(e.start, s.taken)];
  const fill = long > 0 ? Math.min(1, Math.max(0, gone / long)) : 0;
  put($("epoch-number"), `Epoch ${e.number}`);
  put($("epoch-left"), long > 0 ? (gone < long ? `${duration(Math.ceil(long - gone))} to its end` : "ends with the next block") : "not begun");
  $("epoch-bar").style.setProperty("--fill", fill);
  $("epoch-bar").setAttribute("aria-valuenow", Math.round(fill * 100));
  facts("f-node", [
    ["earned since start", { text: credits(s.node.earned), title: exactCredits(s.node.earned) }],
    ["owner's balance", { text: credits(s.node.balance), title: exactCredits(s.node.balance) }],
    ["owner", `account ${s.node.owner}`],
    ["next to settle", `epoch ${e.next_to_settle}`],
  ]);
  const money = (v) => ({ text: credits(v), title: exactCredits(v) });
  rows("t-settlements", s.settlements ?? [], (x) => x.epoch, (x) => [
    x.epoch,
    count(x.acks, `acks, ${exact(x.units)} units in ${exact(x.rows)} rows`),
    money(x.paid),
    { ...money(x.arrears), class: x.arrears === "0" ? "dim" : "warn" },
    money(x.to_node),
    { hash: x.root },
    x.certified ? { text: "certified", tag: "good" } : { text: "settled", tag: "warn", title: "waits for its certificate" },
  ], "No epoch has been settled yet.");
}

// lastVote is the last block that a member voted on, by the chain, and how old that knowledge is.
function lastVote(m, now) {
  return m.voted_at ? `${exact(m.voted_height)}, ${ago(m.voted_at, now)}` : "none seen";
}

function showCommittee(s) {
  const total = (s.committee ?? []).reduce((n, m) => n + m.power, 0);
  rows("t-committee", s.committee ?? [], (m) => m.node, (m) => [
    { text: m.node + (m.self ? " (self)" : ""), title: m.address },
    m.refusing ? { text: "refuses", tag: "bad", title: m.last_error ?? "" } :
    m.healthy && m.convictions ? { text: "convicted", tag: "warn", title: `connected and voting; convicted ${m.convictions === 1 ? "once" : m.convictions + " times"} by its own words` } :
    m.healthy ? { text: "there", tag: "good" } :
    { text: m.missed_blocks ? "no votes" : "away", tag: "bad", title: m.trouble ?? "" },
    { text: lastVote(m, s.taken), class: m.missed_blocks > 2 ? "warn" : "" },
    { text: human(m.power), title: `${exact(m.power)}, ${share(m.power / total)} of the committee's` },
    count(m.shares, "certificate shares"),
    { ...count(m.failures, m.last_error ? `failures, ${exact(m.refusals)} of them refusals for good, the last: ` + m.last_error : "failures"), class: m.failures ? "warn" : "dim" },
    { text: ago(m.last_share, s.taken), title: m.last_share ?? "" },
    m.latency_seconds ? duration(m.latency_seconds) : "–",
  ], "The committee is not known yet.");
}

function showChain(s) {
  const c = s.chain;
  facts("f-chain", [
    ["height", { text: grouped.format(c.height) }],
    ["last block", { text: ago(c.executed, s.taken), title: c.block_time ? "block time " + c.block_time : "", class: c.executed && between(c.executed, s.taken) > 30 ? "bad" : "" }],
    ["peers", count(c.peers)],
    ["validators", `${c.validators}${c.validator ? ", this node too" : ""}`],
    ["mempool", count(c.mempool, "transactions")],
    ["records", { text: `signed up to ${grouped.format(c.certified)}, ${grouped.format(c.unsigned_records)} waiting`,
      title: "records of blocks that ordered, settled or began an epoch, and that the committee signs for outsiders",
      class: c.unsigned_records > 4 ? "warn" : "" }],
    ["clock skew", { text: duration(c.skew_seconds), title: "this node's clock minus the chain's" }],
    ["state", c.failure ? { text: c.failure, class: "bad" } : c.catching_up ? { text: "catching up", class: "warn" } : "in step"],
    ["app hash", { hash: c.app_hash }],
  ]);
  facts("f-registry", [["nodes", count(s.epoch.nodes)], ["services", count(s.epoch.services)], ["clients", count(s.epoch.clients)]]);
}

function showNode(s) {
  const rank = (c) => (c.ok ? (c.warning ? 1 : 2) : 0);
  const order = [...s.checks].sort((a, b) => rank(a) - rank(b));
  rows("t-checks", order, (c) => c.name, (c) => [
    { text: c.name, title: word("check", c.name).meaning },
    c.ok && c.warning ? { text: "warning", tag: "warn" } :
    c.ok ? { text: "ok", tag: "good" } : { text: c.fatal ? "failed, restart" : "failed", tag: "bad" },
    { text: c.detail, class: "detail" },
  ]);
  facts("f-about", [
    ["version", { text: s.build.version, title: s.build.commit }],
    ["commit", s.build.commit || "–"],
    ["built with", s.build.go],
    ["up for", { text: duration(Math.floor(between(s.started, s.taken))), title: "since " + s.started }],
    ["network", { text: s.node.network, class: "code" }],
    ["store", { text: bytes(s.store.bytes), title: s.store.path }],
    ["disk free", { text: bytes(s.store.free), class: s.store.free < s.store.min_free ? "bad" : "" }],
  ]);
  facts("f-kernels", (s.kernels ?? []).map((k) => [k.name, k.fell_back ? { text: k.implementation + ", fell back", class: "bad", title: "a faster implementation failed its self-test" } : k.implementation]));
}

function show(s) {
  remember(s);
  showHead(s);
  showPipeline(s);
  showWindows(s);
  showAnswers(s);
  showEpoch(s);
  showCommittee(s);
  showChain(s);
  showNode(s);
}

// ---- the stream ----

learn();

let stream = null;
let heard = 0; // when the last snapshot came, by this browser's clock

function connect() {
  stream?.close();
  stream = new EventSource("events");
  stream.onmessage = (e) => {
    heard = Date.now();
    show(JSON.parse(e.data));
    freshness();
  };
  stream.onopen = stream.onerror = freshness;
}

// freshness shows or hides the banner.
function freshness() {
  if (document.hidden) return;
  const stale = Date.now() - heard > STALE_AFTER || stream.readyState !== EventSource.OPEN;
  document.body.classList.toggle("stale", stale && heard > 0);
  const banner = $("stale");
  const text = !stale ? "" : heard ? `No news from the node since ${new Date(heard).toLocaleTimeString()}. Trying again.` : "No answer from the node yet. Trying again.";
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !stale;
  if (stale) {
    put($("state"), "out of touch");
    $("state").className = "pill";
  }
}

// Browsers give up on a stream for good when the answer is an error; this does not.
function watch() {
  freshness();
  if (!document.hidden && stream.readyState === EventSource.CLOSED) connect();
}

// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream.close();
  else connect();
});

connect();
setInterval(watch, 1000);
