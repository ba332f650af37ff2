"use strict";

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


section(showWindows);
