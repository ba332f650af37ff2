"use strict";

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
    ["owner", s.node.registered ? `account ${s.node.owner}` : "none"],
    ["next to settle", `epoch ${e.next_to_settle}`],
    ["rules", s.rules.next ? { text: `version ${s.rules.version}; ${s.rules.next.version} from epoch ${s.rules.next.epoch} on`, title: s.rules.next.name, class: s.rules.next.version > s.rules.known ? "warn" : "" } : `version ${s.rules.version}`],
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


section(showEpoch);
