"use strict";

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


section(showChain);
section(showNode);
