import assert from "node:assert/strict";
import type { Checks } from "./check-run.js";

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

    for (const key of hostileKeys) await a.grant(key);

    await a.holds(...hostileKeys);
    for (const key of hostileKeys) {
      await b.refuse(key);
      assert(await b.inspect(key), `${JSON.stringify(key)} has a holder`);
    }
    b.wanted = hostileKeys;
    await a.release(...hostileKeys);
    for (const key of hostileKeys) await b.grant(key);
  },
};
