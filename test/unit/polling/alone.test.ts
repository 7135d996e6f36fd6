import { expect, it } from "vitest";
import { Random } from "../../simulation/random.js";
import { updateKinds } from "../../tools/update-kinds.js";
import { eventsOf, VirtualWorld } from "../../tools/virtual-world.js";

const hourMs = 60 * 60_000;
const kinds = Object.entries(updateKinds);

/**
 * Ten hours of a bot that polls alone: bursts and pauses, all kinds of updates, many of which expire while a handler or
 * an outage keeps the bot from fetching. A gap that nobody has made would make a settled instance give its bot up.
 */
it.each([1, 20])("sees no rival in ten hours alone, with concurrency %i", async (concurrency) => {
  const random = new Random(concurrency);
  const world = new VirtualWorld();
  const sleep = (ms: number) => new Promise<void>((resolve) => void world.clock.setTimer(resolve, ms));
  const bot = world.start("alone", {
    lock: false,
    // Now and then a handler takes longer than an inline query lives.
    onMessage: () => sleep(random.chance(0.005) ? random.between(20_000, 200_000) : random.between(5, 400)),
    options: {
      concurrency,
      overlapMs: 120_000,
      polling: { limit: 20, allowedUpdates: kinds.map(([kind]) => kind) as never },
    },
  });
  let number = 0;
  const push = () => {
    number += 1;
    const [kind, make] = kinds[Math.floor(random.next() * kinds.length)] as (typeof kinds)[number];
    world.api.push(world.account.id, make(number, Math.floor(world.clock.now().wallMs / 1_000)));
    return kind;
  };
  while (world.time.nowMs < 10 * hourMs) {
    if (random.chance(0.02)) {
      world.api.injectFault({
        kind: "internal-error",
        method: "getUpdates",
        times: Math.ceil(random.between(1, 12)),
      });
    }
    const burst = random.chance(0.3) ? Math.ceil(random.between(1, 60)) : 1;
    for (let sent = 0; sent < burst; sent += 1) push();
    await world.advance(random.chance(0.1) ? random.between(20_000, 240_000) : random.between(100, 6_000));
  }

  expect(number).toBeGreaterThan(10_000);
  expect(bot.handled.length).toBeGreaterThan(500);
  // What a rule without its bounds would take for a rival's doing.
  expect(world.api.counters().expired).toBeGreaterThan(100);
  expect(eventsOf(bot, "conflict")).toEqual([]);
});
