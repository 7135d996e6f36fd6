import assert from "node:assert/strict";
import type { CheckRun, Checks, Peer } from "./check-run.js";

export const exclusionChecks: Checks = {
  "one connection at a time holds a key": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    const key = run.key();

    await a.grant(key);

    await b.refuse(key);
    await b.refuse(key);
    await a.holds(key);
    await b.holds();
  },

  "another backend object on the same server is a rival": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    const key = run.key();

    await a.grant(key);
    await b.refuse(key);
    await a.release(key);

    await b.grant(key);
    await a.refuse(key);
  },

  "a claim is answered while the key is held": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());

    // Its holder gives nothing back before this is answered: a claim that waits meets the deadline.
    await b.refuse(run.key());

    await a.holds(run.key());
  },

  "keys are independent": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    await a.grant(run.key("first"));
    await b.grant(run.key("second"));

    await a.release(run.key("first"));

    await b.holds(run.key("second"));
    await a.refuse(run.key("second"));
    await b.grant(run.key("first"));
  },

  "a key that a connection holds is not granted to it again": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    const key = run.key();
    await a.grant(key);

    assert.equal(await a.tryClaim(key), undefined, "granted twice");
    assert.equal(await a.tryClaim(key), undefined, "granted twice");

    // Who does not know that it holds a key (a failover, an answer that was lost) gives it back: it must be told.
    assert.equal(
      (await a.refuse(key)).owner,
      a.owner,
      "the refusal must name the connection that asks as holder",
    );

    // One release must be enough, however often it was claimed.
    await a.release(key);
    await b.grant(key);
  },

  "two claims under way at once grant a key once": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];

    const tokens = await Promise.all([a.tryClaim(run.key()), b.tryClaim(run.key())]);

    assert.equal(tokens.filter((token) => token !== undefined).length, 1);
  },

  "the name of a former owner replaces nobody else": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    await a.grant(run.key());

    await b.refuse(run.key(), { formerOwner: "conformance:another owner" });

    await a.holds(run.key());
  },
};

const grantsPerPeer = 15;

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
  "never two holders under contention": async (run) => {
    const backends = [run.fixture.backend, run.another];
    const peers = await Promise.all([...backends, ...backends, ...backends].map((one) => run.connect(one)));
    const keys = ["a", "b", "c"].map((name) => run.key(name));
    const guarded = new Guarded();

    await Promise.all(peers.map((peer, index) => hammer(run, peer, keys, guarded, index)));
  },
};

async function hammer(run: CheckRun, peer: Peer, keys: readonly string[], guarded: Guarded, first: number) {
  for (let grant = 0; grant < grantsPerPeer; grant += 1) {
    const key = keys[(first + grant) % keys.length] ?? "";
    const token = await run.until(`a grant of ${key}`, async () => {
      const found = await peer.tryClaim(key);
      if (found === undefined) await turns(1);
      return found;
    });
    guarded.enter(key, peer, token);
    await turns(grant % 4);
    // Who took it in two steps may have overwritten this grant after its answer.
    const ours = await peer.beat(key);
    assert(ours.includes(key), `${key} was taken from its holder`);
    guarded.leave(key);
    await peer.release(key);
  }
}

/** Lets everything else that is due go first, so many times. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export const tokenChecks: Checks = {
  "tokens grow with every holder": async (run) => {
    const peers = [await run.connect(), await run.connect(run.another), await run.connect()];
    const tokens: number[] = [];

    for (let round = 0; round < 4; round += 1) {
      for (const peer of peers) {
        tokens.push(await peer.grant(run.key()));
        await peer.release(run.key());
      }
    }

    assertGrowing(tokens);
  },

  "tokens grow over closed connections": async (run) => {
    const tokens: number[] = [];

    for (let round = 0; round < 3; round += 1) {
      const peer = await run.connect(round % 2 === 0 ? run.another : run.fixture.backend);
      tokens.push(await peer.grantSoon(run.key()));
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

/** No file names, no SQL, no JSON and no property names. A NUL and more than 200 characters are refused above. */
const hostileKeys = [
  "a/b",
  "..",
  "../../../tmp/escaped",
  "a\\b",
  ".hidden",
  "with space",
  "line\nbreak\ttab",
  `quotes'"\`;--`,
  "$1 %s {} * ? [a] : ,",
  "имя-бота",
  "机器人🤖",
  "__proto__",
  "constructor",
  "upper",
  "UPPER",
  "upper ",
  "x".repeat(200),
  `${"x".repeat(199)}y`,
];

export const batchChecks: Checks = {
  "answers come in the order of the requests": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    const keys = ["f", "c", "a", "e", "b", "d"].map((name) => run.key(name));
    const taken = keys.filter((_, index) => index % 2 === 0);
    for (const key of taken) await a.grant(key);

    const claims = await b.claimAll(keys);

    assert.deepEqual(
      claims.map(({ granted }) => granted),
      keys.map((key) => !taken.includes(key)),
    );
    await b.holds(...keys.filter((key) => !taken.includes(key)));
  },

  "a thousand keys are one claim, one beat and one release": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    const keys = Array.from({ length: 1000 }, (_, index) => run.key(String(index)));

    const granted = await a.claimAll(keys);
    const refused = await b.claimAll(keys);
    await a.holds(...keys);
    await a.release(...keys);
    const grantedNow = await b.claimAll(keys);

    assert.deepEqual(
      [granted, refused, grantedNow].map((claims) => claims.filter((claim) => claim.granted).length),
      [1000, 0, 1000],
    );
  },

  "hostile keys are keys like any other": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];

    const claims = await a.claimAll(hostileKeys);

    assert(claims.every(({ granted }) => granted));
    for (const key of hostileKeys) {
      await a.holds(...hostileKeys);
      await b.refuse(key);
      assert(await b.inspect(key), `${JSON.stringify(key)} has a holder`);
    }
    b.wanted = hostileKeys;
    await a.release(...hostileKeys);
    for (const key of hostileKeys) await b.grant(key);
  },
};
