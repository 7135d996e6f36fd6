import assert from "node:assert/strict";
import type { Checks } from "./options.js";

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
