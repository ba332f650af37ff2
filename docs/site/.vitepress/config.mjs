// The documentation as a site: pages are those of docs/, as they stand there.
import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitepress";

const docs = fileURLToPath(new URL("../..", import.meta.url));
const module = (name) => fileURLToPath(new URL(`../node_modules/${name}`, import.meta.url));
const source = "https://github.com/waybill-network/waybill/blob/main/";

// title is the first heading of a page.
const title = (file) => /^# (.*)$/m.exec(readFileSync(`${docs}/${file}`, "utf8"))[1];
const page = (file, text) => ({ text: text ?? title(file), link: `/${file.replace(/\.md$/, "")}` });
const group = (text, ...items) => ({ text, items });

const decisions = readdirSync(`${docs}/adr`).filter((f) => /^\d{4}-/.test(f)).sort()
  .map((f) => page(`adr/${f}`));

const sidebar = [
  group("Begin", page("concepts.md"), page("how-an-ack-travels.md"), page("content.md"), page("compute.md")),
  group("Run a node", page("install.md", "Install a node, join a network"), page("keeping.md"),
    page("status.md"), page("alerts.md"), page("symptoms.md"), page("exit-codes.md")),
  group("Integrate", page("api.md")),
  group("Verify and measure", page("lies.md"), page("bench.md"), page("ceremony.md")),
  group("Protocol", page("protocol.md"), page("rotation.md")),
  { text: "Decisions", collapsed: true, items: [page("adr/README.md", "All decisions"), ...decisions] },
];

// plain shows pages as they are meant in the tree: comments are not shown, other HTML is text, and
// what a page refers to outside the documentation is in the source.
function plain(md) {
  const render = md.render.bind(md);
  md.render = (text, env) => render(text.replace(/^<!--[\s\S]*?-->\n/gm, ""), env);
  md.core.ruler.after("inline", "outside", (state) => {
    const here = posix.dirname(posix.join("docs", state.env.relativePath ?? ""));
    for (const block of state.tokens) {
      for (const token of block.children ?? []) {
        const href = token.type === "link_open" ? token.attrGet("href") : null;
        if (!href || /^([a-z]+:|#|\/)/.test(href)) continue;
        const target = posix.join(here, href);
        if (!target.startsWith("docs/") || !/\.md(#.*)?$/.test(target)) {
          token.attrSet("href", source + target);
        }
      }
    }
  });
}

export default defineConfig({
  title: "Waybill",
  description: "Provable edge delivery: acknowledgements that clients sign, settled exactly",
  srcDir: "..",
  srcExclude: ["site/node_modules/**"],
  outDir: "../../bin/site",
  cacheDir: "../../bin/site-cache",
  cleanUrls: false,
  lastUpdated: false,
  rewrites: { "site/index.md": "index.md", "adr/README.md": "adr/index.md" },
  // the pages lie outside the folder of the modules
  vite: { resolve: { alias: [
    { find: /^vue\/server-renderer$/, replacement: module("vue/server-renderer/index.mjs") },
    { find: /^vue$/, replacement: module("vue/dist/vue.runtime.esm-bundler.js") },
  ] } },
  markdown: { html: false, config: plain },
  themeConfig: {
    nav: [{ text: "Run a node", link: "/install" }, { text: "Integrate", link: "/api" },
      { text: "Protocol", link: "/protocol" }, { text: "Decisions", link: "/adr/" }],
    sidebar,
    outline: [2, 3],
    search: { provider: "local" },
  },
});
