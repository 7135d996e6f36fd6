import assert from "node:assert/strict";
import type { Checks } from "./check-run.js";

/** For backends that carry requests to hand over. */
export const askChecks: Checks = {
  "a request to hand over reaches the holder as it was sent, and its answer the asker": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    const key = run.key('k: "Ü" \\ \'');
    b.wanted = [key];
    await a.grant(key);
    await b.refuse(key);
    const request = { id: run.key("id"), instance: 'b, "Ü" \\ \'', priority: -1.5, token: 7 };
    const answer = { id: request.id, instance: "a", answer: "hands-over" } as const;

    await b.ask(key, request);
    assert.deepEqual(await a.hears(request.id), { key, request });
    await a.ask(key, answer);

    assert.deepEqual(await b.hears(answer.id, answer.answer), { key, request: answer });
  },

  "a request to hand over changes nothing by itself": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());
    await b.refuse(run.key());

    await b.ask(run.key(), { id: run.key("id"), instance: "b", priority: 1 });
    await a.hears(run.key("id"));

    await a.holds(run.key());
    await b.refuse(run.key());
  },

  "a request of somebody who has never claimed reaches the holder too": async (run) => {
    const [a, b] = [await run.connect(), await run.connect(run.another)];
    await a.grant(run.key());

    await b.ask(run.key(), { id: run.key("id"), instance: "by hand" });

    assert.deepEqual((await a.hears(run.key("id"))).request, { id: run.key("id"), instance: "by hand" });
  },

  "a record tells the holder's priority, and none where it is 0": async (run) => {
    const { signal } = new AbortController();
    const high = await run.connect(run.fixture.backend, signal, 1_764_201_600_000);
    const normal = await run.connect(run.fixture.backend, signal, 0);
    const looker = await run.connect(run.another);
    await high.grant(run.key("high"));
    await normal.grant(run.key("normal"));

    assert.equal((await looker.refuse(run.key("high"))).priority, 1_764_201_600_000);
    assert.equal((await looker.inspect(run.key("high")))?.priority, 1_764_201_600_000);
    assert.equal((await looker.refuse(run.key("normal"))).priority ?? 0, 0);
  },
};
