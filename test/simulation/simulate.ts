import { parseArgs } from "node:util";
import type { Breakage } from "../tools/patch.js";
import { requireAnchors } from "../tools/patch.js";
import { type Bundle, bundleSimulation } from "./bundle.js";
import type { Kind } from "./kind.js";
import { play } from "./play.js";
import { runSeeds, type Summary } from "./run-seeds.js";
import { seededBugs } from "./seeded-bugs.js";
import { bugsWithoutLock } from "./without-lock/bugs.js";
import { playWithoutLock } from "./without-lock/play.js";

const usage = `npm run simulate -- --seeds 100000 [--from 0]   plays that many seeds, and a twentieth as many without a lock
npm run simulate -- --no-lock --seeds 20000      plays stories without a lock only
npm run simulate -- [--no-lock] --seed 42        tells the story of one
npm run simulate -- [--no-lock] --bugs [--only ask]   counts the seeds that find each seeded bug, or each whose name has a word
npm run simulate -- --bugs --check               looks only whether each bug can still be put in`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    from: { type: "string" },
    seed: { type: "string" },
    bugs: { type: "boolean" },
    only: { type: "string", default: "" },
    check: { type: "boolean" },
    "no-lock": { type: "boolean" },
  },
});

/** For so many stories with a lock, one without: it takes as long as ten of them. */
const withoutLockShare = 20;

const onlyWithoutLock = values["no-lock"] === true;

if (values.seed !== undefined) await tellStory(numberOf(values.seed), onlyWithoutLock ? "no lock" : "lock");
else if (values.bugs) await findSeededBugs();
else await playMany(numberOf(values.seeds ?? "10000"), numberOf(values.from ?? "0"));

/** Prints the timeline of one seed. */
async function tellStory(seed: number, kind: Kind): Promise<void> {
  const { lines, violation } = await (kind === "lock" ? play : playWithoutLock)(seed, true);
  console.log(lines.join("\n"));
  console.log(violation ? `seed ${seed} breaks a rule: ${violation.rule}` : `seed ${seed} breaks no rule`);
  if (violation) process.exitCode = 1;
}

/** Both kinds, unless only one was asked for. */
async function playMany(count: number, from: number): Promise<void> {
  await using bundle = await bundleSimulation();
  if (!onlyWithoutLock) await playKind(bundle, "lock", count, from);
  await playKind(bundle, "no lock", onlyWithoutLock ? count : Math.ceil(count / withoutLockShare), from);
}

async function playKind(bundle: Bundle, kind: Kind, count: number, from: number): Promise<void> {
  const startedAt = performance.now();
  let shownAt = startedAt;
  const sum = await runSeeds(bundle, {
    kind,
    from,
    count,
    onProgress({ played, broken }) {
      const now = performance.now();
      if (now - shownAt < (process.stdout.isTTY ? 200 : 5_000)) return;
      shownAt = now;
      const line = `${played} of ${count} seeds, ${broken.length} broken, ${seconds(now - startedAt)}`;
      if (process.stdout.isTTY) process.stdout.write(`\r${line}`);
      else console.log(line);
    },
  });
  if (process.stdout.isTTY) process.stdout.write("\n");
  console.log(describe(kind, sum, performance.now() - startedAt));
  const [first] = sum.broken;
  if (!first) return;
  for (const { seed, rule } of sum.broken.slice(0, 20)) console.log(`seed ${seed} breaks: ${rule}`);
  await tellStory(first.seed, kind);
  console.log(`npm run simulate -- ${kind === "lock" ? "" : "--no-lock "}--seed ${first.seed}`);
}

/** Prints the table of docs/simulation.md. */
async function findSeededBugs(): Promise<void> {
  requireAnchors("seeded bug", seededBugs, "test/simulation/seeded-bugs.ts");
  requireAnchors("seeded no-lock bug", bugsWithoutLock, "test/simulation/without-lock/bugs.ts");
  if (values.check) return;
  if (!onlyWithoutLock) await findBugs("lock", seededBugs);
  await findBugs("no lock", bugsWithoutLock);
}

async function findBugs(kind: Kind, bugs: readonly Breakage[]): Promise<void> {
  const count = 10_000 / (kind === "lock" ? 1 : withoutLockShare / 2);
  for (const { name, patches } of bugs.filter((bug) => bug.name.includes(values.only))) {
    await using bundle = await bundleSimulation(patches);
    const { broken } = await runSeeds(bundle, { kind, from: 0, count, stopsEarly: true, workers: 1 });
    const [first] = broken;
    console.log(`| ${name} | ${first ? first.seed + 1 : "not found"} | ${first?.rule ?? ""} |`);
    if (!first) process.exitCode = 1;
  }
}

function describe(kind: Kind, { played, steps, virtualMs, counts, broken }: Summary, tookMs: number): string {
  const hours = (virtualMs / 3_600_000).toFixed(1);
  const sums = Object.entries(counts).sort(([one], [other]) => (one < other ? -1 : 1));
  return [
    `${played} seeds ${kind === "lock" ? "with" : "without"} a lock in ${seconds(tookMs)}: ${hours} h of virtual time, ${steps} steps, ${broken.length} broken`,
    ...sums.map(([name, count]) => `  ${name}: ${Math.round(count)}`),
  ].join("\n");
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function numberOf(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 0) return number;
  console.error(usage);
  process.exit(2);
}
