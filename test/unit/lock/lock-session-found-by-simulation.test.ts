import { expect, it } from "vitest";
import { createLockSession } from "../../../src/lease/lock-session.js";
import { silentLogger } from "../../../src/logger.js";
import { LeaseServer } from "../../tools/lease-server.js";
import { VirtualTime } from "../../tools/virtual-time.js";

// A bug that a seed of test/simulation told the story of.
it("a key that we have held and given back on this connection is free, whoever held it before", async () => {
  const time = new VirtualTime();
  const server = new LeaseServer(time.clock());
  const start = (name: string) => {
    let nextId = 1;
    const session = createLockSession({
      backend: server.backend({ recordsReleases: false }),
      instance: name,
      revision: undefined,
      priority: 0,
      clock: time.clock(),
      random: () => 0.5,
      newId: () => String(nextId++),
      logger: silentLogger,
    });
    const grants: number[] = [];
    const candidate = session.enter("bot", {
      granted: ({ token }) => grants.push(token),
      lost: () => {},
      moved: () => {},
      standby: () => {},
      forgotten: () => {},
      trouble: () => {},
      asked: () => {},
      failed: () => {},
    });
    return { ...candidate, grants };
  };
  const a = start("a");
  a.want();
  await time.advance(1);
  const b = start("b");
  b.want();
  await time.advance(100);
  // The holder dies with the connections, and the server keeps no records: a key that nobody holds is not there.
  server.cutOff.add("a");
  server.dropConnections();
  server.records.clear();
  await time.advance(20_000);
  expect(b.grants.length).toBe(1);

  await Promise.all([b.resign(1_000), time.advance(1)]);
  server.records.clear();
  await time.advance(3_000);

  expect(b.grants.length).toBe(2);
});

// A bug that a seed of test/simulation told the story of.
it("an answer to a claim that comes later than trust lasts grants nothing", async () => {
  const time = new VirtualTime();
  const server = new LeaseServer(time.clock());
  let nextId = 1;
  const session = createLockSession({
    backend: server.backend(),
    instance: "a",
    revision: undefined,
    priority: 0,
    clock: time.clock(),
    random: () => 0.5,
    newId: () => String(nextId++),
    logger: silentLogger,
  });
  const events: string[] = [];
  const candidate = session.enter("bot", {
    granted: ({ token }) => events.push(`granted ${token}`),
    lost: (reason) => events.push(`lost ${reason}`),
    moved: () => {},
    standby: () => {},
    forgotten: () => {},
    trouble: () => {},
    asked: () => {},
    failed: () => {},
  });
  server.answers = "held";
  candidate.want();
  await time.advance(100);

  // The process is frozen, then reads the answer before its timers ring.
  time.freeze(8_000);
  server.deliverAnswers();
  await time.advance(20_000);

  expect(events).toEqual(["granted 2"]);
});
