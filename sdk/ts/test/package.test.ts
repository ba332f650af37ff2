// What the package holds, and that it can be used as its readers will.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileStorage } from "../dist/node.js";

const root = new URL("..", import.meta.url).pathname;
const described = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  exports: { [name: string]: string | { types: string; default: string } };
  dependencies: { [name: string]: string };
};

test("npm pack", () => {
  const [{ files }] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json",
    "--ignore-scripts"], { cwd: root, encoding: "utf8" })) as [{ files: { path: string }[] }];
  const paths = files.map((f) => f.path).sort();
  const modules = ["ack", "book", "browser", "bytes", "calls", "cosign", "decoder", "delivery",
    "directory", "fetcher", "index", "kernel", "keys", "link", "manifest", "modules", "node",
    "page", "poseidon2", "record", "remote", "route", "serviceworker", "signer", "stream", "terms",
    "tree", "worker"];
  assert.deepEqual(paths, ["LICENSE", "README.md", "package.json",
    ...["client", "serviceworker", "worker"].map((m) => `dist/bundle/${m}.js`),
    ...modules.flatMap((m) => [`dist/${m}.d.ts`, `dist/${m}.js`])].sort());
  for (const target of Object.values(described.exports)) {
    for (const path of typeof target === "string" ? [] : Object.values(target)) {
      assert.ok(paths.includes(path.replace("./", "")), path);
    }
  }
  assert.deepEqual(Object.keys(described.dependencies).sort(), ["@noble/curves", "@noble/hashes"]);
});

test("the lock file names no place that packages come from", () => {
  const text = readFileSync(join(root, "package-lock.json"), "utf8");
  assert.ok(text.includes('"integrity"') && !text.includes('"resolved"'));
});

test("books in files are one process's, and there after it", async () => {
  const dir = mkdtempSync(join(tmpdir(), "waybill-book-"));
  try {
    const storage = await fileStorage(dir);
    assert.equal(await storage.get("a/b"), undefined);
    await storage.put("a/b", "one");
    await storage.put("a/b", "two");
    assert.equal(await storage.get("a/b"), "two");
    await assert.rejects(fileStorage(dir), /open in process/);
    const other = execFileSync(process.execPath, ["--input-type=module", "-e",
      `import { fileStorage } from ${JSON.stringify(join(root, "dist/node.js"))};
       await fileStorage(process.argv[1]).then(() => console.log("open"),
         (err) => console.log(err.message));`, dir], { encoding: "utf8" });
    assert.match(other, /open in process/);
    rmSync(join(dir, "lock"));
    const again = execFileSync(process.execPath, ["--input-type=module", "-e",
      `import { fileStorage } from ${JSON.stringify(join(root, "dist/node.js"))};
       console.log(await (await fileStorage(process.argv[1])).get("a/b"));`, dir],
      { encoding: "utf8" });
    assert.equal(again.trim(), "two");
  } finally {
    rmSync(dir, { recursive: true });
  }
});
