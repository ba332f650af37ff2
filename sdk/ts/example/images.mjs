// Makes a hundred images of 50 KB, no two alike, in a folder.
//   node images.mjs FOLDER
import { randomFillSync } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const side = 128; // dots
const header = 54;
const folder = process.argv[2];
await mkdir(folder, { recursive: true });
for (let i = 0; i < 100; i++) {
  const b = Buffer.alloc(header + 3 * side * side);
  randomFillSync(b, header);
  b.write("BM");
  for (const [at, value] of [[2, b.length], [10, header], [14, 40], [18, side], [22, side]]) {
    b.writeUInt32LE(value, at);
  }
  b.writeUInt16LE(1, 26);
  b.writeUInt16LE(24, 28); // bits a dot
  await writeFile(join(folder, `${i}.bmp`), b);
}
