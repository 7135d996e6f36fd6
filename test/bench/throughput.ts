// npm run bench:throughput
// Updates per second with the same handler: bot.start() against the sequential mode, run(bot) against the
// concurrent one, in one run, order alternating.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startBotApi } from "grammy-safe-polling/testing";
import { percentile, progress } from "./statistics.js";

const rounds = 15;
const updates = 50_000;
const program = fileURLToPath(new URL("./throughput-process.mjs", import.meta.url));
const pairs = [
  { theirs: "bot.start()", ours: "ours" },
  { theirs: "run(bot)", ours: "ours, concurrent" },
] as const;

interface Sample {
  readonly wallMs: number;
  /** Of the bot's process: other work on the machine disturbs it less than the time on the wall. */
  readonly cpuMs: number;
}

async function measure(way: string): Promise<Sample> {
  await using api = await startBotApi({ journal: false });
  for (let index = 0; index < updates; index += 1) api.pushMessage(api.bot.id, "hello");
  const { stdout } = await promisify(execFile)(process.execPath, [
    program,
    way,
    api.url,
    api.bot.token,
    String(updates),
  ]);
  return JSON.parse(stdout) as Sample;
}

const samples = new Map<string, Sample[]>();
for (let round = 1; round <= rounds; round += 1) {
  for (const { theirs, ours } of pairs) {
    for (const way of round % 2 === 0 ? [theirs, ours] : [ours, theirs]) {
      samples.set(way, [...(samples.get(way) ?? []), await measure(way)]);
    }
  }
  progress(round, rounds, "round");
}

const of = (way: string) => samples.get(way) ?? [];
for (const way of pairs.flatMap(({ theirs, ours }) => [theirs, ours])) {
  const perSecond = percentile(
    of(way).map(({ wallMs }) => updates / (wallMs / 1000)),
    0.5,
  );
  console.log(`${way.padEnd(18)} ${Math.round(perSecond)} updates/s (median of ${rounds})`);
}
for (const { theirs, ours } of pairs) {
  for (const unit of ["wallMs", "cpuMs"] as const) {
    // Round by round, so that a machine that is slow for a while slows both sides.
    const ratios = of(ours).map((sample, index) => (of(theirs)[index]?.[unit] ?? Number.NaN) / sample[unit]);
    console.log(`${ours} / ${theirs} by ${unit}: ${percentile(ratios, 0.5).toFixed(3)}`);
  }
}
