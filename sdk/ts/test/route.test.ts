// Candidates, on the vectors that rollup/route guards.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as w from "../dist/index.js";

interface Case {
  root: string;
  nodes: { index: number; stake: string }[];
  k: number;
  draws: string[];
  distances: string[];
  candidates: number[];
}

const cases = JSON.parse(readFileSync(new URL(
  "../../../rollup/route/testdata/route.json", import.meta.url), "utf8")) as Case[];

test("candidates", () => {
  assert.ok(cases.length > 2);
  for (const c of cases) {
    const root = w.fromHex(c.root, 32);
    c.nodes.forEach((n, i) => {
      assert.equal(String(w.draw(root, n.index)), c.draws[i]);
      assert.equal(String(w.distance(w.draw(root, n.index))), c.distances[i]);
    });
    const nodes = c.nodes.map((n) => ({ node: n.index, stake: BigInt(n.stake) }));
    assert.deepEqual(w.candidates(root, nodes, c.k), c.candidates);
  }
});
