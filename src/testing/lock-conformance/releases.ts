import assert from "node:assert/strict";
import type { Checks } from "./check-run.js";

export const releaseChecks: Checks = {
  "a released key is free at once": async (run) => {
    const [a, b] = [await run.connect(), await run.connect()];
    await a.grant(run.key());

    await a.release(run.key());

    await b.grant(run.key());
    assert.deepEqual(await a.beat(run.key()), []);
  },

  "a release of keys that are not held changes nothing": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());

    await b.release(run.key(), run.key("unknown"));
    await a.release(run.key("unknown"));

    await a.holds(run.key());
    await b.refuse(run.key());
  },

  "a connection that was closed does not release what its successor holds": async (run) => {
    const [a, b, c] = [await run.connect(), await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());
    await a.close();
    await b.grantSoon(run.key());

    await a.connection.release([run.key()]).catch(() => "refused, which is as good");

    await b.holds(run.key());
    await c.refuse(run.key());
  },
};

/** For backends that wake; others are asked again at the poll. */
export const releaseWakeChecks: Checks = {
  "a release wakes who waits": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    b.wanted = [run.key()];
    await a.grant(run.key());
    await b.refuse(run.key());

    const seen = b.wakes.length;
    await a.release(run.key());

    await b.grantAfterWake(run.key(), seen);
  },

  "a release between the refusal and the wait is not missed": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    b.wanted = [run.key()];
    await a.grant(run.key());

    await Promise.all([b.refuse(run.key()), a.holds(run.key())]);
    await a.release(run.key());

    await b.grantAfterWake(run.key());
  },

  "a release of a thousand keys wakes once, not a thousand times": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    const keys = Array.from({ length: 1000 }, (_, index) => run.key(String(index)));
    const last = keys.at(-1) ?? "";
    b.wanted = keys;
    await a.claimAll(keys);
    await b.claimAll(keys);

    await a.release(...keys);
    await b.grantAfterWake(last);

    // What other checks release on the same server may be announced here too.
    const ours = new Set<string | undefined>([undefined, ...keys]);
    const count = b.wakes.filter((key) => ours.has(key)).length;
    assert(count <= 20, `${count} wake-ups for one release`);
  },
};
