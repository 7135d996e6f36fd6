// npm run bench [-- deploys|handover|throughput|concurrency|many-bots …] [--quick] [--count N] [--only "<name>" …]
// Ways to run a bot side by side, in one run and in alternating order. A full run keeps its samples in
// docs/benchmarks.json and draws docs/benchmarks.md and docs/benchmarks.svg from them, part by part; with --quick
// or --only nothing is written.
import { commandLine, endWithUsage } from "../tools/command-line.js";
import { concurrencyWays, measureConcurrency } from "./concurrency.js";
import { Arena, contenders } from "./contenders.js";
import { measureDeploys } from "./deploys.js";
import { measureHandover } from "./handover.js";
import { describeMachine } from "./machine.js";
import { manyBotsLocks, measureManyBots } from "./many-bots.js";
import { type PartName, type PartResult, partNames, printPart, type Samples } from "./results.js";
import { measureThroughput, type ThroughputSample, throughputWays } from "./throughput.js";
import { writePage } from "./write-page.js";

const names = [
  ...contenders.map(({ name }) => name),
  ...throughputWays,
  ...concurrencyWays,
  ...manyBotsLocks,
];
const usage = `usage: npm run bench -- [${partNames.join("|")} …] [--quick] [--count <whole number>] [--only "<name>" …]
       names: ${[...new Set<string>(names)].map((name) => `"${name}"`).join(", ")}`;
const { values, positionals } = commandLine(usage, {
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    count: { type: "string" },
    only: { type: "string", multiple: true },
  },
});
const askedParts = positionals.length > 0 ? positionals : partNames;
const count = values.count === undefined ? undefined : Number(values.count);
const { only, quick: isQuick } = values;
const areKnown =
  askedParts.every((name) => partNames.includes(name as PartName)) &&
  (only ?? []).every((name) => (names as string[]).includes(name));
if (!areKnown || (count !== undefined && !(Number.isInteger(count) && count > 0))) endWithUsage(usage);

/** Every name once a round; the order is turned round each time, so that nobody always comes first. */
async function inTurns<Name extends string, Sample>(
  names: readonly Name[],
  rounds: number,
  measure: (name: Name) => Promise<Sample>,
): Promise<Samples<Sample>> {
  const samples: Record<string, Sample[]> = {};
  const asked = chosen(names);
  for (let round = 1; round <= rounds; round += 1) {
    for (const name of round % 2 === 1 ? asked : asked.toReversed()) {
      progress(`round ${round}/${rounds}: ${name}`);
      samples[name] = [...(samples[name] ?? []), await measure(name)];
    }
  }
  return Object.fromEntries(asked.map((name) => [name, samples[name] ?? []]));
}

function chosen<Name extends string>(names: readonly Name[]): Name[] {
  return names.filter((name) => !only || only.includes(name));
}

function progress(text: string): void {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}`);
  else console.log(text);
}

const parts: { readonly [Part in PartName]: () => Promise<PartResult[Part]> } = {
  async deploys() {
    await using arena = await Arena.start();
    const names = contenders.map(({ name }) => name);
    const [rounds, deploys] = isQuick ? [1, 2] : [2, count ?? 3];
    return { deploys: await inTurns(names, rounds, (name) => measureDeploys(arena, name, deploys)) };
  },
  async handover() {
    await using arena = await Arena.start();
    const names = contenders.filter(({ standsBy }) => standsBy).map(({ name }) => name);
    const rounds = isQuick ? 1 : (count ?? 8);
    return {
      handover: await inTurns(names, rounds, (name) => measureHandover(arena, name)),
    };
  },
  async throughput() {
    await using arena = await Arena.start();
    const rounds = isQuick ? 1 : (count ?? 5);
    const ways = chosen(throughputWays);
    async function measure(onlyCounts: boolean, updatesPerBatch: number) {
      const all = new Map<string, ThroughputSample[]>(ways.map((way) => [way, []]));
      for (let round = 1; round <= rounds; round += 1) {
        progress(`round ${round}/${rounds}: a handler that ${onlyCounts ? "only counts" : "answers"}`);
        const samples = await measureThroughput(arena, ways, { updatesPerBatch, onlyCounts });
        for (const [way, ofWay] of all) ofWay.push(...(samples[way] ?? []));
      }
      return Object.fromEntries(all);
    }
    return {
      throughput: await measure(true, isQuick ? 5_000 : 50_000),
      answering: await measure(false, isQuick ? 500 : 3_000),
    };
  },
  async concurrency() {
    await using arena = await Arena.start();
    const rounds = isQuick ? 1 : (count ?? 3);
    return { concurrency: await inTurns(concurrencyWays, rounds, (way) => measureConcurrency(arena, way)) };
  },
  async "many-bots"() {
    const sizes = isQuick ? [1, 100] : [1, 100, 1_000];
    const seconds = isQuick ? 3 : 10;
    const many = [];
    for (const bots of sizes) {
      for (const lock of chosen(manyBotsLocks)) {
        progress(`${bots} bots, ${lock}`);
        many.push(await measureManyBots(lock, bots, seconds));
      }
    }
    return { manyBots: many };
  },
};

const machine = describeMachine();
console.log(machine);
for (const name of askedParts as PartName[]) {
  const from = performance.now();
  console.log(`${name} …`);
  const result = await parts[name]();
  if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
  printPart(result);
  console.log(`${name} took ${Math.round((performance.now() - from) / 1_000)} s\n`);
  if (!isQuick && !only) writePage(machine, result);
}
