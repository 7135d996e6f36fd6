import assert from "node:assert/strict";
import type { Checks, LockFixture, LockHooks } from "./bench.js";

export const connectionChecks: Checks = {
  "closing gives everything up": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    await a.grant(bench.key("first"));
    await a.grant(bench.key("second"));

    await a.close();

    await b.grantSoon(bench.key("first"));
    await b.grantSoon(bench.key("second"));
  },

  "closing one connection leaves the others alone": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    await b.grant(bench.key());

    await a.close();

    await b.holds(bench.key());
  },

  "a closed connection is granted nothing": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    await a.close();

    const token = await a.tryClaim(bench.key()).catch(() => undefined);

    assert.equal(token, undefined);
    await b.grantSoon(bench.key());
  },

  "a claim under way at the close leaves nothing behind": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];

    const claim = a.tryClaim(bench.key()).catch(() => "no answer");
    await a.close();
    await claim;

    await b.grantSoon(bench.key());
  },

  "closing twice is closing once": async (bench) => {
    const a = await bench.connect();
    await a.grant(bench.key());

    await Promise.all([a.close(), a.close()]);
    await a.close();
  },

  "onClosed is not called for a close that was asked for": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    await a.grant(bench.key());

    await a.close();
    await b.grantSoon(bench.key());

    assert.deepEqual(a.closures, []);
  },

  "connecting under an aborted signal rejects": async (bench) => {
    await assert.rejects(bench.connect(bench.fixture.backend, AbortSignal.abort()));
  },

  "an abort while connecting ends it, or comes too late": async (bench) => {
    const abort = new AbortController();
    const opening = bench.connect(bench.fixture.backend, abort.signal);
    abort.abort();

    const peer = await opening.catch(() => undefined);

    await peer?.grant(bench.key());
    await peer?.close();
    await (await bench.connect()).grantSoon(bench.key());
  },

  "an abort after connecting has no effect": async (bench) => {
    const abort = new AbortController();
    const peer = await bench.connect(bench.fixture.backend, abort.signal);

    abort.abort();

    await peer.grant(bench.key());
    await peer.holds(bench.key());
  },
};

export const closeWakeChecks: Checks = {
  "closing wakes who waits": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    b.wanted = [bench.key()];
    await a.grant(bench.key());
    await b.refuse(bench.key());

    await a.close();

    await b.grantAfterWake(bench.key());
  },
};

export function cutChecks<Fixture extends LockFixture>(
  cutConnections: NonNullable<LockHooks<Fixture>["cutConnections"]>,
): Checks<Fixture> {
  return {
    "a connection that breaks says so once, and its keys become free": async (bench) => {
      const a = await bench.connect();
      await a.grant(bench.key());

      await cutConnections(bench.fixture);
      await bench.until("onClosed", () => (a.closures.length > 0 ? true : undefined));

      await assert.rejects(a.beat(bench.key()), "a broken connection is never revived");
      await a.close();
      const b = await bench.connect(bench.another);
      await b.grantSoon(bench.key());
      assert.equal(a.closures.length, 1);
    },
  };
}
