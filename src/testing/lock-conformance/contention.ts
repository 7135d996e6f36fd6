import assert from "node:assert/strict";
import type { Bench } from "./bench.js";
import type { Checks } from "./options.js";
import type { Peer } from "./peer.js";

const grantsPerPeer = 25;

/** What is guarded: at most one user a key, with tokens that only grow. */
class Guarded {
  readonly #users = new Map<string, Peer>();
  readonly #tokens = new Map<string, number>();

  enter(key: string, peer: Peer, token: number): void {
    assert(!this.#users.has(key), `two connections hold ${key} at once`);
    assert(token > (this.#tokens.get(key) ?? -1), `a later holder of ${key} has no larger token`);
    this.#users.set(key, peer);
    this.#tokens.set(key, token);
  }

  leave(key: string): void {
    this.#users.delete(key);
  }
}

export const contentionChecks: Checks = {
  "never two holders under contention": async (bench) => {
    const backends = [bench.fixture.backend, bench.another];
    const peers = await Promise.all([...backends, ...backends, ...backends].map((one) => bench.connect(one)));
    const keys = ["a", "b", "c"].map((name) => bench.key(name));
    const guarded = new Guarded();

    await Promise.all(peers.map((peer, index) => hammer(bench, peer, keys, guarded, index)));
  },
};

async function hammer(bench: Bench, peer: Peer, keys: readonly string[], guarded: Guarded, first: number) {
  for (let grant = 0; grant < grantsPerPeer; grant += 1) {
    const key = keys[(first + grant) % keys.length] ?? "";
    const token = await bench.until(`a grant of ${key}`, async () => {
      const found = await peer.tryClaim(key);
      if (found === undefined) await turns(1);
      return found;
    });
    guarded.enter(key, peer, token);
    await turns(grant % 4);
    guarded.leave(key);
    await peer.release(key);
  }
}

/** Lets everything else that is due go first, so many times. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
