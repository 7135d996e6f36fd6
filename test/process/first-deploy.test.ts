import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { ContenderName } from "../bench/contenders.js";
import { BotFleet, type Instance } from "../tools/bot-fleet.js";
import { startLockServer } from "../tools/lock-servers.js";

const program = fileURLToPath(new URL("../bench/contender-process.mjs", import.meta.url));
/** A platform starts a crashed process again. */
const restartAfterMs = 300;

/** The old version of the bot as it was before this library: it knows no lock, and its platform keeps it alive. */
function keepAlive(fleet: BotFleet, way: ContenderName) {
  let isWanted = true;
  let crashes = 0;
  const scenario = { way, apiRoot: fleet.api.urlFor("old"), token: fleet.token, places: {} };
  const start = (): Instance => fleet.run("old", program, scenario);
  const first = start();
  let current = first;
  const lives = (async () => {
    for (;;) {
      await current.exited;
      if (!isWanted) return;
      crashes += 1;
      await sleep(restartAfterMs);
      if (!isWanted) return;
      current = start();
    }
  })();
  const end = async (signal: "SIGTERM" | "SIGKILL") => {
    isWanted = false;
    current.kill(signal);
    await lives;
  };
  return {
    first,
    get crashes() {
      return crashes;
    },
    /** As the platform ends it after the overlap. */
    end: () => end("SIGTERM"),
    [Symbol.asyncDispose]: () => end("SIGKILL"),
  };
}

/** Scaled: the overlap of a platform in place of 60 to 200 s, and the waits of the series to it. */
const options = { overlapMs: 60_000, backoff: { delaysMs: [100, 200, 300, 400], jitter: 0 } };

describe.concurrent("the first deploy over a bot that its platform starts again after each crash", () => {
  for (const way of ["bot.start()", "run(bot)"] as const) {
    for (const lock of ["no", "the postgres"] as const) {
      it(`by ${way}: the new version, with ${lock} lock, outlives it`, async () => {
        await using server = lock === "no" ? undefined : await startLockServer("postgres");
        await using fleet = await BotFleet.start(server?.choice() ?? { kind: "none" });
        await using old = keepAlive(fleet, way);
        await fleet.polling(old.first);
        const next = fleet.instance("new", { options });

        // Five attempts end the series elsewhere.
        const fifth = await next.line("retry", { attempt: 5 }, 0, 60_000);
        await old.end();
        await next.state("polling", next.lines.indexOf(fifth));
        fleet.push("after the deploy");
        await next.line("handled", { text: "after the deploy" });

        expect(fifth).toMatchObject({ attempts: 6, delayMs: 400, givesWay: false });
        expect(old.crashes).toBeGreaterThan(0);
        expect(next.lines.filter(({ event }) => event === "done rejected")).toEqual([]);
        next.kill("SIGTERM");
        expect((await next.exited).code).toBe(0);
      });
    }
  }
});
