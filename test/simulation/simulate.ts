import { commandLine, endWithUsage } from "../tools/command-line.js";
import type { Breakage } from "../tools/patch.js";
import { requireAnchors } from "../tools/patch.js";
import { type Bundle, bundleSimulation } from "./bundle.js";
import { type Kind, plays } from "./kind.js";
import { runSeeds, type Summary } from "./run-seeds.js";
import { aimedBugs, seededBugs } from "./seeded-bugs.js";
import { bugsWithoutLock } from "./without-lock/bugs.js";

const usage = `npm run simulate -- --seeds 100000 [--from 0]   plays that many seeds, and a twentieth as many of the other kinds
npm run simulate -- --kind no-lock --seeds 20000   plays one kind only: lock, aimed or no-lock
npm run simulate -- --seed 42 [--kind no-lock]   tells the story of one
npm run simulate -- --bugs [--kind no-lock] [--only ask]   counts the seeds that find each seeded bug, or each whose name has a word
npm run simulate -- --bugs --check               looks only whether each bug can still be put in`;

const { values } = commandLine(usage, {
  options: {
    seeds: { type: "string" },
    from: { type: "string" },
    seed: { type: "string" },
    bugs: { type: "boolean" },
    only: { type: "string", default: "" },
    check: { type: "boolean" },
    kind: { type: "string" },
  },
});

/** For so many stories with a lock, one of each other kind: one without a lock takes as long as ten of them. */
const othersShare = 20;
const kinds = Object.keys(plays) as Kind[];
const bugLists: Readonly<Record<Kind, readonly [bugs: readonly Breakage[], file: string]>> = {
  lock: [seededBugs, "test/simulation/seeded-bugs.ts"],
  aimed: [aimedBugs, "test/simulation/seeded-bugs.ts"],
  "no-lock": [bugsWithoutLock, "test/simulation/without-lock/bugs.ts"],
};

const only = kinds.find((kind) => kind === values.kind);
if (values.kind !== undefined && !only) endWithUsage(usage);
if (values.seed !== undefined) await tellStory(numberOf(values.seed), only ?? "lock");
else if (values.bugs) await findSeededBugs();
else await playMany(numberOf(values.seeds ?? "10000"), numberOf(values.from ?? "0"));

/** Prints the timeline of one seed. */
async function tellStory(seed: number, kind: Kind): Promise<void> {
  const { lines, violation } = await plays[kind](seed, true);
  console.log(lines.join("\n"));
  console.log(violation ? `seed ${seed} breaks a rule: ${violation.rule}` : `seed ${seed} breaks no rule`);
  if (violation) process.exitCode = 1;
}

/** All kinds, unless only one was asked for. */
async function playMany(count: number, from: number): Promise<void> {
  await using bundle = await bundleSimulation();
  for (const kind of only ? [only] : kinds) {
    const share = only || kind === "lock" ? 1 : othersShare;
    await playKind(bundle, kind, Math.ceil(count / share), from);
  }
}

async function playKind(bundle: Bundle, kind: Kind, count: number, from: number): Promise<void> {
  const startedAt = performance.now();
  let shownAt = startedAt;
  let told = 0;
  const sum = await runSeeds(bundle, {
    kind,
    from,
    count,
    onProgress({ played, broken }) {
      // At once: a run that is ended early has told what it found.
      for (const { seed, rule } of broken.slice(told)) console.log(`seed ${seed} breaks: ${rule}`);
      told = broken.length;
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
  await tellStory(first.seed, kind);
  console.log(`npm run simulate -- --seed ${first.seed}${kind === "lock" ? "" : ` --kind ${kind}`}`);
}

/** Prints the tables of docs/simulation.md. */
async function findSeededBugs(): Promise<void> {
  for (const kind of kinds) requireAnchors(`seeded ${kind} bug`, ...bugLists[kind]);
  if (values.check) return;
  const asked = (only ? [only] : kinds).map((kind) => {
    const bugs = bugLists[kind][0].filter(({ name }) => name.includes(values.only));
    return { kind, bugs };
  });
  if (asked.every(({ bugs }) => bugs.length === 0))
    endWithUsage(`No seeded bug has "${values.only}" in its name.`);
  for (const { kind, bugs } of asked) await findBugs(kind, bugs);
}

async function findBugs(kind: Kind, bugs: readonly Breakage[]): Promise<void> {
  const count = kind === "lock" ? 10_000 : 1_000;
  for (const { name, patches } of bugs) {
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
    `${kind}: ${played} seeds in ${seconds(tookMs)}: ${hours} h of virtual time, ${steps} steps, ${broken.length} broken`,
    ...sums.map(([name, count]) => `  ${name}: ${Math.round(count)}`),
  ].join("\n");
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function numberOf(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 0) return number;
  return endWithUsage(usage);
}
