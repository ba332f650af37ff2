// Prints the account key of a seed.
//   node key.mjs SEED
import { readFile } from "node:fs/promises";
import { edPublicKey, fromHex, hex } from "@waybill/client";

console.log(hex(edPublicKey(fromHex((await readFile(process.argv[2], "utf8")).trim(), 32))));
