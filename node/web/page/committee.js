"use strict";

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


section(showCommittee);
