// The backend of an example site: it hands its visitors grants, for keys that they made. Run it as
//   node backend.mjs settings.json
// Its settings: port; node, the address of a node; site, what pages are told (see README.md);
// account and seed (a file, hexadecimal) of the payer; files, folders to serve by address.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import * as waybill from "@waybill/client";

const settings = JSON.parse(await readFile(process.argv[2], "utf8"));
const seed = waybill.fromHex((await readFile(settings.seed, "utf8")).trim(), 32);
const payer = waybill.hex(waybill.edPublicKey(seed));
const genesis = await readFile(settings.genesis, "utf8");
const { network } = waybill.parseGenesis(genesis);

async function call(service, method, request) {
  const response = await fetch(`${settings.node}/waybill.v1.${service}/${method}`, {
    method: "POST", body: JSON.stringify(request),
    headers: { "Content-Type": "application/json" } });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

const epochNow = async () => (await call("LedgerService", "GetStatus", {})).epoch ?? 0;

/** Signs a grant for a visitor's key, submits it, and waits until the visitor is a client. */
async function grant({ key, proof }) {
  const epoch = await epochNow();
  const until = epoch + settings.epochs;
  const signed = waybill.newGrant(network, settings.account, seed, waybill.fromHex(key, 96),
    waybill.fromHex(proof, 48), { services: [settings.site.service],
      numbers: 10_000, from: epoch, until });
  const tx = waybill.hex(waybill.grantsTransaction(network, [signed]));
  await call("LedgerService", "SubmitTx", { tx });
  for (let i = 0; i < 100; i++) {
    const [client] = (await call("LedgerService", "GetClients", { keys: [key] })).clients;
    if (client?.payer === settings.account) return { client: Number(client.index ?? 0), until };
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error("the grant was not executed in time");
}

const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript" };

createServer(async (request, response) => {
  const answer = (status, body, type = "application/json") =>
    response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-cache" }).end(body);
  const path = new URL(request.url, "http://site").pathname;
  try {
    if (path === "/waybill/site") {
      const epoch = await epochNow();
      return answer(200, JSON.stringify({ ...settings.site, genesis, payer, epoch }));
    }
    if (path === "/waybill/grant" && request.method === "POST") {
      let text = "";
      for await (const part of request) if ((text += part).length > 1000) return answer(413, "{}");
      return answer(200, JSON.stringify(await grant(JSON.parse(text))));
    }
  } catch (err) {
    return answer(400, JSON.stringify({ error: String(err.message) }));
  }
  const name = normalize(path.endsWith("/") ? `${path}index.html` : path);
  for (const folder of settings.files) {
    const file = await readFile(join(folder, name)).catch(() => undefined);
    if (file !== undefined) return answer(200, file, types[extname(name)] ?? "text/plain");
  }
  answer(404, "not found", "text/plain");
}).listen(settings.port, "127.0.0.1", function () {
  console.log(`http://127.0.0.1:${this.address().port}/`);
});
