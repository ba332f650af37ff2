"use strict";

function showAnswers(s) {
  const answers = s.pipeline.answers ?? [];
  const refused = answers.filter((a) => a.name !== "accepted" && a.name !== "known" && a.name !== "on_account" && a.count > 0).sort((a, b) => b.count - a.count);
  const sum = (list) => list.reduce((n, a) => n + a.count, 0);
  const [total, bad] = [sum(answers), sum(refused)];
  facts("f-answers", [
    ["accepted", count(answer(s, "accepted"), "acks")],
    ...onAccount(s),
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

// onAccount is what was taken before it was verified, where the operator allows that.
function onAccount(s) {
  const a = s.pipeline.account;
  if (!a || !a.session_max_acks) return [];
  return [
    ["accepted on account", count(answer(s, "on_account"), "acks")],
    ["not verified yet", { text: `${human(a.acks)} of ${human(a.max_acks)}`, title: `${exact(a.acks)} acks; ${exact(a.known)} clients are known over their connection` }],
    ["covered, verified", { text: `${human(a.covered)}, ${human(a.verified)}`, title: "by a co-signature, and one by one before the seal" }],
    ["forged, dropped", { text: `${human(a.forged)}, ${human(a.dropped)}`, title: "acks on account that did not verify, and those behind them" }],
  ];
}

section(showAnswers);
