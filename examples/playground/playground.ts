// Deploys, crashes and lost lock servers to watch in a browser: `npm run playground`.
import { startBotApi } from "grammy-safe-polling/testing";
import { type PlaygroundSettings, readArguments, usage } from "./arguments.js";
import { Guard } from "./guard.js";
import { openBrowser } from "./open-browser.js";
import { startPageServer } from "./page-server.js";
import { World } from "./world.js";

/** So many events are kept for `markLeaseEnded`, which looks back a moment. */
const journal = 2_000;

async function runPlayground({ isOpening, host, port, leaseMs, speed }: PlaygroundSettings): Promise<void> {
  const isEnding = endingSignal();
  using guard = new Guard();
  await using api = await startBotApi({ journal });
  await using world = new World({ api, guard, leaseMs, speed });
  await using page = await startPageServer({ world, emulatorUrl: api.url, host, port });

  process.stdout.write(
    `\nThe playground: ${page.url}\nCtrl+C ends it, and every process that it has started.\n`,
  );
  const isWatched = process.stdout.isTTY && !process.env.CI;
  if (isOpening && isWatched) openBrowser(page.url);
  await isEnding;
}

/** Resolves at the first signal that asks this process to end; a second one ends it without waiting. */
function endingSignal(): Promise<void> {
  return new Promise((resolve) => {
    let isAsked = false;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (isAsked) process.exit(1);
        isAsked = true;
        resolve();
      });
    }
  });
}

const asked = readArguments(process.argv.slice(2));
if (asked.run === "error") {
  process.stderr.write(`${asked.message}\n\n${usage}`);
  process.exitCode = 2;
} else if (asked.run === "help") {
  process.stdout.write(usage);
} else {
  await runPlayground(asked.settings);
}
