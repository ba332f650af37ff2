/** A worker in which a page's fetcher runs: it hashes and signs there, so that the page never
 * stalls. The page's side is remote.ts. */
import { indexedStorage } from "./browser.js";
import { fromHex } from "./bytes.js";
import { Fetcher, FetchError, type FetchOptions } from "./fetcher.js";
import { bestKernel } from "./kernel.js";
import { type Failure, type RemoteConfig } from "./remote.js";
import { type LocalSigner } from "./signer.js";

type Call = { id: number; op: string; args: unknown[] };

let fetcher: Fetcher | undefined;

function failure(err: unknown): Failure {
  if (!(err instanceof FetchError)) return { message: String(err) };
  const { node, phase, root, offset, received, charged, code } = err;
  return { at: { node, phase, root, offset }, sum: { received, charged }, code,
    message: err.cause instanceof Error ? err.cause.message : String(err.cause) };
}

/** Hands a stream over, piece by piece, as the page pulls. */
function pour(body: ReadableStream<Uint8Array>, port: MessagePort): void {
  const reader = body.getReader();
  port.onmessage = async ({ data }) => {
    if (data === "cancel") {
      await reader.cancel().catch(() => undefined);
      port.close();
      return;
    }
    try {
      const { value, done } = await reader.read();
      if (done) return port.postMessage({ done });
      const whole = value.byteLength === value.buffer.byteLength ? value : value.slice();
      port.postMessage({ data: whole }, [whole.buffer as ArrayBuffer]);
    } catch (err) {
      port.postMessage({ error: failure(err) });
    }
  };
}

async function run({ op, args }: Call): Promise<{ value: unknown; move: Transferable[] }> {
  if (op === "start") {
    const { secret, database, ...config } = args[0] as RemoteConfig;
    const storage = database === undefined ? {} : { storage: indexedStorage(database) };
    fetcher = new Fetcher({ ...config, ...storage, secret: fromHex(secret, 32) });
    return { value: { kernel: (await bestKernel()).name }, move: [] };
  }
  const f = fetcher;
  if (f === undefined) throw new Error("not started");
  switch (op) {
    case "fetch": {
      const c = await f.fetch(args[0] as string, args[1] as FetchOptions);
      const { port1, port2 } = new MessageChannel();
      pour(c.body, port1);
      return { value: { root: c.root, size: c.size, from: c.from, to: c.to, type: c.type,
        port: port2 }, move: [port2] };
    }
    case "settle":
      await f.settle();
      return { value: f.stats(), move: [] };
    case "close":
      await f.close();
      return { value: f.stats(), move: [] };
    case "stats": {
      const { signatures, milliseconds } = f.signer as LocalSigner;
      return { value: { ...f.stats(), signatures, milliseconds }, move: [] };
    }
  }
  throw new Error(`unknown: ${op}`);
}

onmessage = async ({ data }: MessageEvent<Call>) => {
  try {
    const { value, move } = await run(data);
    postMessage({ id: data.id, value }, { transfer: move });
  } catch (err) {
    postMessage({ id: data.id, error: failure(err) });
  }
};
