/** Who signs with a client's key. */
import { type Bytes } from "./bytes.js";
import { blsSign, publicKey } from "./keys.js";

/** Signs messages with a client's BLS key. */
export interface Signer {
  readonly publicKey: Bytes;
  sign(message: Uint8Array): Promise<Bytes>;
}

/** Signs where it is called. Each signature stops the thread for some milliseconds: pages use a
 * worker. */
export class LocalSigner implements Signer {
  readonly publicKey: Bytes;
  private readonly secret: Uint8Array;
  /** How many signatures were made, and in how many milliseconds in all. */
  signatures = 0;
  milliseconds = 0;
  constructor(secret: Uint8Array) {
    this.secret = secret.slice();
    this.publicKey = publicKey(secret);
  }

  async sign(message: Uint8Array): Promise<Bytes> {
    const begin = performance.now();
    const signature = blsSign(this.secret, message);
    this.signatures++;
    this.milliseconds += performance.now() - begin;
    return signature;
  }
}
