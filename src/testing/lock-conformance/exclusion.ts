import assert from "node:assert/strict";
import type { Bench, Checks, Peer } from "./bench.js";
export const exclusionChecks: Checks = {
  "one connection at a time holds a key": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    const key = bench.key();

    await a.grant(key);

    await b.refuse(key);
    await b.refuse(key);
    await a.holds(key);
    await b.holds();
  },

  "another backend object on the same server is a rival": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    const key = bench.key();

    await a.grant(key);
    await b.refuse(key);
    await a.release(key);

    await b.grant(key);
    await a.refuse(key);
  },

  "a claim is answered while the key is held": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    await a.grant(bench.key());

    // Its holder gives nothing back before this is answered: a claim that waits meets the deadline.
    await b.refuse(bench.key());

    await a.holds(bench.key());
  },

  "keys are independent": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    await a.grant(bench.key("first"));
    await b.grant(bench.key("second"));

    await a.release(bench.key("first"));

    await b.holds(bench.key("second"));
    await a.refuse(bench.key("second"));
    await b.grant(bench.key("first"));
  },

  "a key that a connection holds is not granted to it again": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    const key = bench.key();
    await a.grant(key);

    assert.equal(await a.tryClaim(key), undefined, "granted twice");
    assert.equal(await a.tryClaim(key), undefined, "granted twice");

    // One release must be enough, however often it was claimed.
    await a.release(key);
    await b.grant(key);
  },

  "a key twice in one claim is granted once": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    const key = bench.key();

    const claims = await a.claimAll([key, key]);

    assert.deepEqual(
      claims.map(({ granted }) => granted),
      [true, false],
    );
    await a.release(key);
    await b.grant(key);
  },

  "two claims under way at once grant a key once": async (bench) => {
    const a = await bench.connect();

    const tokens = await Promise.all([a.tryClaim(bench.key()), a.tryClaim(bench.key())]);

    assert.equal(tokens.filter((token) => token !== undefined).length, 1);
  },

  "the name of a former owner replaces nobody else": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    await a.grant(bench.key());

    await b.refuse(bench.key(), { formerOwner: "conformance:another owner" });

    await a.holds(bench.key());
  },
};

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

export const tokenChecks: Checks = {
  "tokens grow with every holder": async (bench) => {
    const peers = [await bench.connect(), await bench.connect(bench.another), await bench.connect()];
    const tokens: number[] = [];

    for (let round = 0; round < 4; round += 1) {
      for (const peer of peers) {
        tokens.push(await peer.grant(bench.key()));
        await peer.release(bench.key());
      }
    }

    assertGrowing(tokens);
  },

  "tokens grow over closed connections": async (bench) => {
    const tokens: number[] = [];

    for (let round = 0; round < 3; round += 1) {
      const peer = await bench.connect(round % 2 === 0 ? bench.another : bench.fixture.backend);
      tokens.push(await peer.grantSoon(bench.key()));
      await peer.close();
    }

    assertGrowing(tokens);
  },
};

function assertGrowing(tokens: readonly number[]): void {
  for (const [index, token] of tokens.entries()) {
    assert(Number.isSafeInteger(token), `${token} is a safe integer`);
    const before = tokens[index - 1];
    assert(before === undefined || token > before, `each token is larger than the one before: ${tokens}`);
  }
}
