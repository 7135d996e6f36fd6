import assert from "node:assert/strict";
import type { Checks } from "./check-run.js";

export const connectionChecks: Checks = {
  "closing gives everything up": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key("first"));
    await a.grant(run.key("second"));

    await a.close();

    await b.grantSoon(run.key("first"));
    await b.grantSoon(run.key("second"));
  },

  "closing one connection leaves the others alone": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    await b.grant(run.key());

    await a.close();

    await b.holds(run.key());
  },

  "a claim under way at the close leaves nothing behind": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];

    const claim = a.tryClaim(run.key()).catch(() => "no answer");
    await a.close();
    await claim;

    await b.grantSoon(run.key());
  },

  "onClosed is not called for a close that was asked for": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    await a.grant(run.key());

    await a.close();
    await b.grantSoon(run.key());

    assert.deepEqual(a.closures, []);
  },

  "connecting under an aborted signal rejects": async (run) => {
    await assert.rejects(run.connect(run.fixture.backend, AbortSignal.abort()));
  },

  "an abort while connecting ends it, or comes too late": async (run) => {
    const abort = new AbortController();
    const opening = run.connect(run.fixture.backend, abort.signal);
    abort.abort();

    const peer = await opening.catch(() => undefined);

    await peer?.grant(run.key());
    await peer?.close();
    await (await run.connect()).grantSoon(run.key());
  },

  "an abort after connecting has no effect": async (run) => {
    const abort = new AbortController();
    const peer = await run.connect(run.fixture.backend, abort.signal);

    abort.abort();

    await peer.grant(run.key());
    await peer.holds(run.key());
  },
};

export const closeWakeChecks: Checks = {
  "closing wakes who waits": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    b.wanted = [run.key()];
    await a.grant(run.key());
    await b.refuse(run.key());

    await a.close();

    await b.grantAfterWake(run.key());
  },
};

export const cutChecks: Checks = {
  "a connection that breaks says so once, and its keys become free": async (run) => {
    const a = await run.connect();
    await a.grant(run.key());

    await run.cutConnections();
    await run.until("onClosed", () => (a.closures.length > 0 ? true : undefined));

    await a.close();
    const b = await run.connect(run.another);
    await b.grantSoon(run.key());
    assert.equal(a.closures.length, 1);
  },
};
