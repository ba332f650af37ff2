// What all sections of the page use: numbers for people, and writing into the page. Text is set only where it changed,
// so that selections and focus survive; nothing from the node is ever parsed as HTML.
//
// A section is a file of its own: it has a <section> in index.html, a <script> there, and calls section(show) with a
// function that takes every snapshot.
"use strict";

const SPAN = 120; // seconds of the quick charts
const $ = (id) => document.getElementById(id);

const sections = [];
const section = (show) => sections.push(show);

// visible escapes what moves, turns or hides text: names and errors of others are among what the node says.
const hidden = /(?![\u202f ])[\p{C}\p{Zl}\p{Zp}\p{Zs}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f]/gu;
function visible(text) {
  const shown = text.replace(hidden, (c) => [...c].map((r) => r.codePointAt(0) > 0xffff ? `\\u{${r.codePointAt(0).toString(16)}}` : "\\u" + r.charCodeAt(0).toString(16).padStart(4, "0")).join(""));
  return shown.length > 2000 ? shown.slice(0, 2000) + `… (${exact(text.length)} characters)` : shown;
}

// ---- numbers for people; the exact value goes into the title ----

// As on the command line: a narrow space between groups of digits, and a minus sign.
const written = (s) => s.replaceAll(",", "\u202f").replace("-", "−");
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
const grouped = { format: (v) => written(number.format(v)) };
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
  return c >= 1e5 ? human(c) : written(c.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: c > 0 && c < 0.01 ? 6 : 2 }));
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
  const text = visible(String(c.text ?? "–"));
  if (to.textContent !== text) to.textContent = text;
  const title = visible(String(c.title ?? ""));
  if ((to.title || "") !== title) to.title = title;
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

const share = (x) => (x === 0 ? "0%" : x < 0.0001 ? "<0.01%" : x < 0.1 ? (x * 100).toFixed(2) + "%" : (x * 100).toFixed(0) + "%");

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
