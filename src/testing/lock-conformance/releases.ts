import assert from "node:assert/strict";
import type { Checks } from "./bench.js";

export const releaseChecks: Checks = {
  "a released key is free at once": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect()];
    await a.grant(bench.key());

    await a.release(bench.key());

    await b.grant(bench.key());
    assert.deepEqual(await a.beat(bench.key()), []);
  },

  "a release of keys that are not held changes nothing": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    await a.grant(bench.key());

    await b.release(bench.key(), bench.key("unknown"));
    await a.release(bench.key("unknown"));

    await a.holds(bench.key());
    await b.refuse(bench.key());
  },

  "a release wakes who waits": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    b.wanted = [bench.key()];
    await a.grant(bench.key());
    await b.refuse(bench.key());

    const seen = b.wakes.length;
    await a.release(bench.key());

    await b.grantAfterWake(bench.key(), seen);
  },

  "a release between the refusal and the wait is not missed": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    b.wanted = [bench.key()];
    await a.grant(bench.key());

    await Promise.all([b.refuse(bench.key()), a.holds(bench.key())]);
    await a.release(bench.key());

    await b.grantAfterWake(bench.key());
  },

  "a release of a thousand keys wakes once, not a thousand times": async (bench) => {
    const [a, b] = [await bench.connect(), await bench.connect(bench.another)];
    const keys = Array.from({ length: 1000 }, (_, index) => bench.key(String(index)));
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

  "a connection that was closed does not release what its successor holds": async (bench) => {
    const [a, b, c] = [await bench.connect(), await bench.connect(), await bench.connect(bench.another)];
    await a.grant(bench.key());
    await a.close();
    await b.grantSoon(bench.key());

    await a.connection.release([bench.key()]).catch(() => "refused, which is as good");

    await b.holds(bench.key());
    await c.refuse(bench.key());
  },
};
