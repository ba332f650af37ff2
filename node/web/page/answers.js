"use strict";

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


section(showAnswers);
