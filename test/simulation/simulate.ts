import { parseArgs } from "node:util";
import { requireAnchors } from "../tools/patch.js";
import { bundleSimulation } from "./bundle.js";
import { play } from "./play.js";
import { runSeeds, type Summary } from "./run-seeds.js";
import { seededBugs } from "./seeded-bugs.js";

const usage = `npm run simulate -- --seeds 100000 [--from 0]   plays that many seeds
npm run simulate -- --seed 42                    tells the story of one
npm run simulate -- --bugs [--only ask]          counts the seeds that find each seeded bug, or each whose name has a word
npm run simulate -- --bugs --check               looks only whether each bug can still be put in`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    from: { type: "string" },
    seed: { type: "string" },
    bugs: { type: "boolean" },
    only: { type: "string", default: "" },
    check: { type: "boolean" },
  },
});

if (values.seed !== undefined) await tellStory(numberOf(values.seed));
else if (values.bugs) await findSeededBugs();
else await playMany(numberOf(values.seeds ?? "10000"), numberOf(values.from ?? "0"));

/** Prints the timeline of one seed. */
async function tellStory(seed: number): Promise<void> {
  const { lines, violation } = await play(seed, true);
  console.log(lines.join("\n"));
  console.log(violation ? `seed ${seed} breaks a rule: ${violation.rule}` : `seed ${seed} breaks no rule`);
  if (violation) process.exitCode = 1;
}

async function playMany(count: number, from: number): Promise<void> {
  await using bundle = await bundleSimulation();
  const startedAt = performance.now();
  let shownAt = startedAt;
  const sum = await runSeeds(bundle, {
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
  console.log(describe(sum, performance.now() - startedAt));
  const [first] = sum.broken;
  if (!first) return;
  for (const { seed, rule } of sum.broken.slice(0, 20)) console.log(`seed ${seed} breaks: ${rule}`);
  await tellStory(first.seed);
  console.log(`npm run simulate -- --seed ${first.seed}`);
}

/** Prints the table of docs/simulation.md. */
async function findSeededBugs(): Promise<void> {
  requireAnchors("seeded bug", seededBugs, "test/simulation/seeded-bugs.ts");
  if (values.check) return;
  for (const { name, patches } of seededBugs.filter((bug) => bug.name.includes(values.only))) {
    await using bundle = await bundleSimulation(patches);
    const { broken } = await runSeeds(bundle, { from: 0, count: 10_000, stopsEarly: true, workers: 1 });
    const [first] = broken;
    console.log(`| ${name} | ${first ? first.seed + 1 : "not found"} | ${first?.rule ?? ""} |`);
    if (!first) process.exitCode = 1;
  }
}

function describe({ played, steps, virtualMs, counts, broken }: Summary, tookMs: number): string {
  const hours = (virtualMs / 3_600_000).toFixed(1);
  const sums = Object.entries(counts).sort(([one], [other]) => (one < other ? -1 : 1));
  return [
    `${played} seeds in ${seconds(tookMs)}: ${hours} h of virtual time, ${steps} steps, ${broken.length} broken`,
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
