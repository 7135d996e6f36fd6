import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { pathOf } from "../tools/patch.js";
import { type Bar, drawChart, type Panel } from "./chart.js";
import { contenders } from "./contenders.js";
import { isOurs, medianOf, type Results, speedOf, sumDeploys, type Table, tablesOf } from "./results.js";

const inDocs = (name: string) => pathOf(`docs/${name}`);

/** What the page calls the parts, where it says on which machine each was measured. */
const partTitles: { readonly [Part in keyof Results]: string } = {
  deploys: "rolling deploys",
  handover: "handover and takeover",
  throughput: "throughput (counting)",
  answering: "throughput (answering)",
  concurrency: "handlers that wait",
  manyBots: "many bots",
};

/** The samples of the last full run of every part, and the machine that it ran on. */
interface Kept {
  readonly machines: Readonly<Record<string, string>>;
  readonly results: Partial<Results>;
}

/** Keeps the samples of a part and draws the page and the chart from all that are kept. */
export function writePage(machine: string, part: Partial<Results>): void {
  const before = readKept();
  const machines = { ...before.machines };
  for (const name of Object.keys(part)) machines[name] = machine;
  const results = { ...before.results, ...part };
  writeFileSync(inDocs("benchmarks.json"), `${JSON.stringify({ machines, results }, rounded, 1)}\n`);
  writeFileSync(inDocs("benchmarks.svg"), drawChart("grammy-safe-polling beside others", panelsOf(results)));
  writeFileSync(inDocs("benchmarks.md"), pageOf(machines, results));
}

/** The page, from the samples that are kept. */
export function pageOfKept(): string {
  const { machines, results } = readKept();
  return pageOf(machines, results);
}

function readKept(): Kept {
  return existsSync(inDocs("benchmarks.json"))
    ? JSON.parse(readFileSync(inDocs("benchmarks.json"), "utf8"))
    : { machines: {}, results: {} };
}

function rounded(_name: string, value: unknown): unknown {
  return typeof value === "number" ? Math.round(value * 1_000) / 1_000 : value;
}

function panelsOf({ deploys, handover, throughput, answering }: Partial<Results>): Panel[] {
  const panels: Panel[] = [];
  const bars = <Sample>(
    samples: Readonly<Record<string, readonly Sample[]>>,
    measureOf: (samples: readonly Sample[]) => number,
    textOf: (value: number) => string,
  ): Bar[] =>
    Object.entries(samples).map(([label, all]) => {
      const value = measureOf(all);
      return { label, value, text: textOf(value), isOurs: isOurs(label) };
    });
  if (deploys) {
    const { deploys: count = 0 } = sumDeploys(Object.values(deploys)[0] ?? []);
    panels.push(
      {
        title: `Messages lost or answered twice in ${count} rolling deploys`,
        bars: bars(deploys, (all) => sumDeploys(all).lost + sumDeploys(all).answeredTwice, String),
      },
      {
        title: "Live 409s",
        bars: bars(deploys, (all) => sumDeploys(all).live409s, String),
      },
      {
        title: "Worst delay of a reply",
        bars: bars(deploys, (all) => sumDeploys(all).worstReplyMs, inMilliseconds),
      },
    );
  }
  if (handover) {
    for (const [kind, title] of [
      ["handover", "Handover after SIGTERM, median (logarithmic)"],
      ["takeover", "Takeover after SIGKILL, median (logarithmic)"],
    ] as const) {
      const of = (all: Results["handover"][string]) => medianOf(all.map((sample) => sample[kind]));
      panels.push({ title, isLog: true, bars: bars(handover, of, inMilliseconds) });
    }
  }
  for (const [title, samples] of [
    ["Updates per second, a handler that only counts, median", throughput],
    ["Updates per second, a handler that answers, median", answering],
  ] as const) {
    if (samples) panels.push({ title, bars: bars(samples, speedOf, String) });
  }
  return panels;
}

const inSeconds = (value: number) => `${(value / 1_000).toFixed(1)} s`;
const inMilliseconds = (value: number) => (value < 1_000 ? `${value.toFixed(0)} ms` : inSeconds(value));

function pageOf(machines: Kept["machines"], results: Partial<Results>): string {
  const ways = contenders.map(({ name, about }) => `- **${name}**: ${about}.`);
  const partsOn = (machine: string) =>
    (Object.keys(partTitles) as (keyof Results)[]).filter((part) => machines[part] === machine);
  const measured = [...new Set(Object.values(machines))].map(
    (machine) =>
      `- ${partsOn(machine)
        .map((part) => partTitles[part])
        .join(", ")}: ${machine}`,
  );
  return `# Benchmarks

What people do about deploys, beside this library: what is lost or answered twice, how long nobody polls after a stop or a
crash, how fast updates are fetched, what many bots cost.

![Bars of the figures below](benchmarks.svg)

All ways run in one run on one machine, in turns, against the Bot API emulator of this repository.
Telegram's network is not in these figures, but for the handlers that wait: there each answer takes 30 ms. The ways, each used as its documentation says:

${ways.join("\n")}

Where and when:

${measured.join("\n")}

Written by \`npm run bench\` from [its samples](benchmarks.json); do not edit.

${[...tablesOf(results), sizes()].map(sectionOf).join("\n")}
${notes}`;
}

/** The limits that `npm run size` keeps, not what a build happens to have. */
function sizes(): Table {
  const limits: { name: string; limit: string }[] = JSON.parse(readFileSync(pathOf("package.json"), "utf8"))[
    "size-limit"
  ];
  return {
    title:
      "Size of each entry with what it imports, minified and compressed (brotli), without peer dependencies",
    head: ["entry", "at most"],
    rows: limits.map(({ name, limit }) => [name, limit]),
  };
}

function sectionOf({ title, head, rows }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = line(head.map((_, index) => (index === 0 ? "---" : "--:")));
  return `## ${title}\n\n${[line(head), rule, ...rows.map(line)].join("\n")}\n`;
}

const notes = `## How it is measured

- Rolling deploys: a message every 100 ms, a handler of 20 ms. The new version starts; 1 s after it is ready the old one
  gets SIGTERM, and SIGKILL 10 s later if it still lives. A process that ends with an error is started again after 1 s.
  Lost: not answered 25 s after the last deploy. Without a lock a busy bot shows few 409s and many double answers.
- Handover and takeover: two bots, each with a holder and a standby; from the signal until the successor's first poll is
  parked. Holders have been idle for 3.5 s, so that \`bot.stop()\` does not meet the server's rule that stretches a repeated
  offset to 3 s.
- Throughput: 50 000 updates wait, fifteen times in a row, for a handler that only counts: what polling itself costs. Again
  with 3 000 for one that answers each message by \`ctx.reply()\`, which is what bots do. The last ten times are measured:
  figures of the first handler rise over two hundred thousand updates, while V8 compiles. A fresh process: the first time.
  The processes of all ways run at once and handle their batches in turns, always in the same order; ratios are taken batch
  by batch.
  Node.js gets \`--min-semi-space-size=16\`: the size that V8's nursery reaches in a process that runs for a while. Where it
  grows by luck, V8's guesses about the lifetime of what grammY makes for each update make any way of polling faster or
  slower by a sixth.
- Handlers that wait: the handler of each of 1000 messages sleeps for 50 ms; from the first message to the end of the
  last handler, median of the runs. Then one handler sleeps for 30 s while 600 messages come, one every 50 ms, whose
  handlers sleep for 20 ms: from each message to the end of its handler. The lock is the memory lock. "100 at once":
  \`concurrency: 100\`, for the runner \`sink: { concurrency: 100 }\`. "fetched": \`confirm: "fetched"\`, which loses in a
  crash what is being handled, as \`run(bot)\` does; without it nothing is lost.
- Many bots: connections and commands as a proxy before the lock server sees them, over 10 s in which no update comes.
  "no shared lock" is the memory lock: what the bots cost without any server. Free: SIGKILL, or with Redis the end of the
  lease on the server.

## What to run

| what is measured | command |
| --- | --- |
| nothing lost or twice and the order of every chat kept, with many handlers at once; by 20 crashes at 300 updates a second | \`npm run deploys -- --count 100 --concurrency 50\`, \`npm run deploys -- --count 20 --concurrency 50 --crash\` |
| rolling deploys under traffic, beside other ways; with one lock, as many as you like | \`npm run bench -- deploys\`, \`npm run deploys -- --count 1000 --lock file\` (\`postgres\`, \`redis\`) |
| handover and takeover of an idle bot | \`npm run bench -- handover --count 100\` |
| updates per second, processor time an update | \`npm run bench -- throughput\` |
| many handlers at once that wait, and one that is slow | \`npm run bench -- concurrency\` |
| connections, commands, memory and takeover of many bots | \`npm run bench -- many-bots\` |
| the locks alone, without bots | \`npm run bench:postgres\`, \`npm run bench:redis\` |
| size of each entry | \`npm run size\` |

Faults instead of figures: [proof.md](proof.md).
`;
