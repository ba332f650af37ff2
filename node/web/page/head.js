"use strict";

function showHead(s) {
  put($("name"), s.node.name || "Waybill");
  put($("who"), s.node.chain_id ? `${s.node.registered ? "node " + s.node.index : "not registered"}, ${s.node.chain_id}` : "");
  put($("clock"), new Date(s.taken).toLocaleTimeString());
  showAlarm(s);
  const failed = s.checks.filter((c) => !c.ok);
  const lost = stuckWindows(s);
  const state = $("state");
  put(state, failed.length ? "not ready: " + failed.map((c) => c.name).join(", ") : lost.length ? `${lost.length} window${lost.length > 1 ? "s" : ""} stuck` : s.node.serving ? "ready" : "ready, not serving");
  state.className = "pill " + (failed.length || lost.length ? "unready" : "ready");
  document.title = `${failed.length || lost.length ? "✕ " : ""}${s.node.name || "Waybill"} · Waybill`;
}


section(showHead);
