// npm run mutate [-- <word of a file or of what breaks> …]
// npm run mutate -- --check: looks only whether each mutant can still be made.
// Breaks the core in one place after the other, in copies of the repository, and runs the tests that should
// notice. Exit code 1: a mutant survived that no reason is given for. A full run writes its table into docs/proof.md.
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { endWithUsage } from "../tools/command-line.js";
import { patched, pathOf, requireAnchors } from "../tools/patch.js";
import { type Mutant, mutants, type TestRun } from "./mutants.js";
import { withMutants } from "./proof-table.js";

type Outcome = "killed" | "survived" | "timed out";

const root = pathOf("");
const runtimes = pathOf("test/runtimes/");
const copied = ["src", "test", "dist", "package.json", "tsconfig.json", "tsup.config.ts", "vitest.config.ts"];
/** A mutant that hangs is noticed too, by whoever waits for the tests. */
const deadlineMs = 300_000;
const running = new Set<() => void>();

/** A copy of the repository in which one mutant at a time lives. */
class Copy {
  readonly #directory = mkdtempSync(join(tmpdir(), "gsp-mutation-"));

  constructor() {
    const filter = (path: string) => !(path.startsWith(runtimes) && path.includes("node_modules"));
    for (const name of copied)
      cpSync(join(root, name), join(this.#directory, name), { recursive: true, filter });
    symlinkSync(join(root, "node_modules"), join(this.#directory, "node_modules"));
    // The built package is there already; no mutant is tested by it.
    writeFileSync(
      join(this.#directory, "test/tools/set-up-run.ts"),
      "export default function nothing() {}\n",
    );
  }

  async try(mutant: Mutant): Promise<Outcome> {
    const path = join(this.#directory, mutant.file);
    const source = readFileSync(path, "utf8");
    writeFileSync(path, patched(mutant, source));
    try {
      for (const test of mutant.tests) {
        const { outcome } = await this.runTests(test);
        if (outcome !== "survived") return outcome;
      }
      return "survived";
    } finally {
      writeFileSync(path, source);
    }
  }

  runTests(test: TestRun): Promise<{ outcome: Outcome; output: string }> {
    const program = join(this.#directory, "node_modules/vitest/vitest.mjs");
    // A test that fails by the load of the machine has not noticed anything: it must fail twice.
    const args = [program, "run", "--silent", "--bail=1", "--retry=1", "--testTimeout=60000", ...test];
    return new Promise((resolve) => {
      const child = spawn(process.execPath, args, {
        cwd: this.#directory,
        env: { ...process.env, NO_COLOR: "1" },
        stdio: ["ignore", "pipe", "ignore"],
        detached: true,
      });
      let output = "";
      child.stdout.on("data", (text) => {
        output += text;
      });
      // With the servers that its tests have started.
      const kill = () => process.kill(-(child.pid as number), "SIGKILL");
      running.add(kill);
      const timer = setTimeout(() => {
        resolve({ outcome: "timed out", output });
        kill();
      }, deadlineMs);
      child.once("exit", (code) => {
        clearTimeout(timer);
        running.delete(kill);
        resolve({ outcome: code === 0 ? "survived" : "killed", output });
      });
    });
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function chosenMutants(): readonly Mutant[] {
  const words = process.argv.slice(2);
  const isAsked = ({ file, breaks }: Mutant) => words.some((word) => `${file} ${breaks}`.includes(word));
  return words.length === 0 ? mutants : mutants.filter(isAsked);
}

async function run(chosen: readonly Mutant[]): Promise<Map<Mutant, Outcome>> {
  const copies = Array.from({ length: Math.min(4, cpus().length) }, () => new Copy());
  process.once("exit", () => {
    for (const kill of running) kill();
    for (const copy of copies) copy.remove();
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

  const tests = [...new Set(chosen.flatMap((mutant) => mutant.tests))];
  console.log(`${chosen.length} mutants, ${tests.length} test files; first all of them as they are`);
  await inParallel(copies, tests, async (copy, test) => {
    const { outcome, output } = await copy.runTests(test);
    if (outcome === "survived") return;
    console.error(`${output}\n${test.join(" ")} does not pass without any mutant`);
    process.exit(2);
  });
  const outcomes = new Map<Mutant, Outcome>();
  await inParallel(copies, chosen, async (copy, mutant) => {
    const outcome = await copy.try(mutant);
    outcomes.set(mutant, outcome);
    report(outcomes.size, chosen.length, mutant, outcome);
  });
  return outcomes;
}

/** One piece of work at a time in each copy. */
async function inParallel<Work>(
  copies: readonly Copy[],
  works: readonly Work[],
  perform: (copy: Copy, work: Work) => Promise<void>,
): Promise<void> {
  const queue = [...works];
  const workThrough = async (copy: Copy) => {
    for (let work = queue.shift(); work; work = queue.shift()) await perform(copy, work);
  };
  await Promise.all(copies.map(workThrough));
}

function report(done: number, total: number, { file, breaks }: Mutant, outcome: Outcome): void {
  const text = `${done}/${total} ${outcome.padEnd(9)} ${file}: ${breaks}`;
  if (!process.stdout.isTTY || outcome === "survived") console.log(text);
  else
    process.stdout.write(`\r\x1b[K${text.slice(0, process.stdout.columns - 1)}${done === total ? "\n" : ""}`);
}

/** The table in docs/proof.md. */
function writeTable(outcomes: ReadonlyMap<Mutant, Outcome>): void {
  const path = pathOf("docs/proof.md");
  writeFileSync(path, withMutants(readFileSync(path, "utf8"), outcomes));
}

requireAnchors(
  "mutant",
  mutants.map((mutant) => ({ name: mutant.breaks, patches: [mutant] })),
  "test/mutation/mutants.ts",
);
const testFiles = mutants.flatMap(({ tests }) => tests.map(([file]) => file));
const lostTest = testFiles.find((file) => !existsSync(pathOf(file)));
if (lostTest) {
  console.error(`${lostTest}, which should notice mutants, is not there; mend test/mutation/mutants.ts`);
  process.exit(2);
}
if (process.argv.includes("--check")) process.exit();
const chosen = chosenMutants();
if (chosen.length === 0)
  endWithUsage(`No mutant is in such a file, or breaks such a thing: ${process.argv.slice(2).join(", ")}`);
const outcomes = await run(chosen);
const survivors = chosen.filter((mutant) => outcomes.get(mutant) === "survived");
const unexplained = survivors.filter(({ survivesBecause }) => !survivesBecause);
const explained = survivors.length - unexplained.length;
console.log(
  `${chosen.length - survivors.length} of ${chosen.length} noticed, ${explained} survived for a reason, ${unexplained.length} unexplained`,
);
for (const { file, breaks } of unexplained) console.log(`SURVIVED ${file}: ${breaks}`);
if (chosen.length === mutants.length) writeTable(outcomes);
process.exitCode = unexplained.length > 0 ? 1 : 0;
