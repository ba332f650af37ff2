// Prints the settings of backend.mjs: who the node is, and which account pays.
//   node settings.mjs NODE GENESIS SEED SERVICE
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { edPublicKey, fromHex, hex } from "@waybill/client";

const [node, genesis, seed, service] = process.argv.slice(2);
const payer = hex(edPublicKey(fromHex((await readFile(seed, "utf8")).trim(), 32)));
const session = await (await fetch(`${node}/session`)).json();
const response = await fetch(`${node}/waybill.v1.LedgerService/GetAccount`, { method: "POST",
  headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key: payer }) });
const account = await response.json();
if (!response.ok) throw new Error(`the payer: ${account.message}`);
const here = new URL(".", import.meta.url).pathname;
console.log(JSON.stringify({
  port: 0,
  node,
  account: account.index,
  epochs: 100,
  seed: resolve(seed),
  genesis: resolve(genesis),
  site: { service: Number(service), owner: payer,
    nodes: [{ url: node, pin: `${session.network}/${session.node}/${session.node_key}` }] },
  files: [`${here}public`, `${here}../dist/bundle`],
}, null, 2));
