// A rolling deploy and a crash under traffic, with real processes: `npm run demo`, also with `-- --no-lock` and the like.
import { constants } from "node:os";
import { startBotApi } from "grammy-safe-polling/testing";
import { restartAfterMs } from "../../test/tools/platform-instance.js";
import { readArguments, usage, type Way } from "./arguments.js";
import { paintFor } from "./colours.js";
import { measure } from "./figures.js";
import { Fleet } from "./fleet.js";
import { legends } from "./lanes.js";
import { CutShortError, Patience } from "./patience.js";
import { brokenPromises, drawTable, verdict } from "./report.js";
import { Screen } from "./screen.js";
import { tellStory } from "./story.js";
import { wrap } from "./text.js";
import { Timeline } from "./timeline.js";

/** Far more than it takes: whoever hangs is to be told so. Crashes and restarts need their time. */
const deadlineMs: Readonly<Record<Way, number>> = {
  lock: 28_000,
  priority: 28_000,
  "no-lock": 28_000,
  plain: 50_000,
};

const titles: Readonly<Record<Way, string>> = {
  lock: "A rolling deploy and a crash under traffic: safeStartPolling() with a file lock",
  priority: "A newer release under traffic: safeStartPolling() with a file lock and a priority",
  "no-lock": "A rolling deploy under traffic: safeStartPolling() with lock: false",
  plain: "A rolling deploy and a crash under traffic: plain grammY, bot.start()",
};

const hints: Readonly<Partial<Record<Way, string>>> = {
  "no-lock":
    "Times are a tenth of Render's, and version 1 has its clock put forward: it has polled for a minute.",
  plain: `A crashed instance is started again ${restartAfterMs / 1_000} s later, as a platform does.`,
};

const paint = paintFor(process.stdout, process.env);
let exitCode = 0;

async function runDemo(way: Way): Promise<void> {
  const patience = new Patience();
  const limitMs = deadlineMs[way];
  const deadline = setTimeout(() => {
    patience.end(
      `The demo hangs: ${limitMs / 1_000} s are over. It waited until this happens: ${patience.awaited}.`,
    );
  }, limitMs);
  endOnSignals(patience);
  await using api = await startBotApi();
  using timeline = new Timeline({
    api,
    screen: new Screen(process.stdout, process.env),
    paint,
    legend: legends[way],
  });
  await using fleet = new Fleet(api, way, {
    changed: ({ name }, state) => timeline.enter(name, state),
    conflict(instance, by, delayMs) {
      const when = delayMs > 0 ? `; its 409 comes ${delayMs / 1_000} s late, until then it is deaf` : "";
      timeline.say(`conflict: ${by} ended ${instance.name}'s poll${when}`, "red");
    },
    crashed({ name }, { code, reason, output }) {
      timeline.say(`${name} crashed with code ${code}: ${reason ?? "it gave no reason"}`, "red");
      if (way === "plain" && reason?.startsWith("409")) return;
      patience.end(`${name} crashed, which it must not. It printed:\n${output}`);
    },
  });
  try {
    const story = await tellStory({ api, fleet, timeline, patience, way });
    const picture = timeline.picture();
    timeline[Symbol.dispose]();
    const figures = measure(api.events, story);
    print("", ...picture, "", ...drawTable(figures, way, paint), "");
    const isBroken = brokenPromises(figures, way).length > 0;
    const sentence = wrap(verdict(figures, way), process.stdout.columns ?? Number.POSITIVE_INFINITY);
    print(...sentence.map((line) => paint(isBroken ? "red" : "green", line)));
    if (way === "plain") print("The same with grammy-safe-polling: npm run demo");
    else if (isBroken) exitCode = 1;
  } catch (error) {
    timeline[Symbol.dispose]();
    if (!(error instanceof CutShortError)) throw error;
    exitCode ||= 1;
    process.stderr.write(`\n${error.message}\n`);
  } finally {
    clearTimeout(deadline);
  }
}

/** Ctrl+C and the like end the demo and everything that it has started; at the second time without waiting. */
function endOnSignals(patience: Patience): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (exitCode !== 0) process.exit(exitCode);
      exitCode = 128 + constants.signals[signal];
      patience.end(`${signal}: the demo ends, and every instance with it.`);
    });
  }
  // Whoever read the output is gone, as in `npm run demo | head`.
  process.stdout.on("error", () => process.exit(1));
}

function introduce(way: Way): void {
  print(
    paint("bold", titles[way]),
    paint("dim", "Only one instance of a bot may poll: a second one ends its poll with a 409."),
    paint("dim", "Each version of the bot is a process; Telegram is an emulator on this machine."),
    ...(hints[way] ? [paint("dim", hints[way])] : []),
    "",
  );
}

function print(...lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));
}

const asked = readArguments(process.argv.slice(2));
if (asked.run === "error") {
  process.stderr.write(`${asked.message}\n\n${usage}`);
  exitCode = 2;
} else if (asked.run === "help") {
  process.stdout.write(usage);
} else {
  introduce(asked.way);
  await runDemo(asked.way);
}
process.exitCode = exitCode;
