/** What a program in Node.js keeps: books, in files. */
import { createHash } from "node:crypto";
import { unlinkSync } from "node:fs";
import { mkdir, open, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { type Storage } from "./book.js";

/** A storage in a folder, which is this process's until it ends. What is put is on disk before
 * `put` returns. */
export async function fileStorage(dir: string): Promise<Storage> {
  await mkdir(dir, { recursive: true });
  await lock(join(dir, "lock"));
  const file = (key: string) =>
    join(dir, createHash("sha256").update(key).digest("hex").slice(0, 32) + ".json");
  return {
    async get(key) {
      try {
        const kept = JSON.parse(await readFile(file(key), "utf8")) as [string, string];
        if (kept[0] !== key) throw new Error(`waybill: ${file(key)} is another book's`);
        return kept[1];
      } catch (err) {
        if ((err as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw err;
      }
    },
    async put(key, value) {
      const path = file(key);
      await durable(`${path}.new`, JSON.stringify([key, value]));
      await rename(`${path}.new`, path);
      const folder = await open(dir);
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    },
  };
}

async function durable(path: string, text: string): Promise<void> {
  const f = await open(path, "w", 0o600);
  try {
    await f.writeFile(text);
    await f.sync();
  } finally {
    await f.close();
  }
}

async function lock(path: string): Promise<void> {
  for (let again = true; ; again = false) {
    try {
      const f = await open(path, "wx");
      await f.writeFile(String(process.pid));
      await f.close();
      process.once("exit", () => { unlinkNow(path); });
      return;
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== "EEXIST") throw err;
      const pid = Number(await readFile(path, "utf8").catch(() => "0"));
      if (!again || alive(pid)) {
        throw new Error(`waybill: the books in ${path} are open in process ${pid}`);
      }
      await unlink(path).catch(() => undefined); // its process is gone
    }
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === "EPERM";
  }
}

function unlinkNow(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    return; // the next one finds that this process is gone
  }
}
