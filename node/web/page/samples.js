// Counters of the last two minutes, since the page was opened, and the words that the node uses.
"use strict";

let samples = []; // {t: seconds, started, counters: {name: value}}

function remember(s) {
  const counters = { accepted: answer(s, "accepted"), sent: s.content.sent };
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
