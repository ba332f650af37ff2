"use strict";

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


section(showPipeline);
