// Reads JSON reports of vitest: that of all tests, and where there is one that of a second run of some of its files.
//   node failed-tests.cjs files <report>            the files with a failed test, a line each
//   node failed-tests.cjs count <report> [<again>]  "<passed> <failed>"; a second run of a file stands for the first
//   node failed-tests.cjs print <report> [<again>]  each test that failed in either run, in which, and its messages
const { existsSync, readFileSync } = require("node:fs");
const { relative } = require("node:path");

const filesOf = (path) =>
  path && existsSync(path) ? JSON.parse(readFileSync(path, "utf8") || '{"testResults":[]}').testResults : [];
const hasFailed = ({ status, assertionResults }) =>
  status === "failed" || assertionResults.some((test) => test.status !== "passed");

const [, , command, first, second] = process.argv;
const runs = [filesOf(first), filesOf(second)];

if (command === "files") {
  for (const { name } of runs[0].filter(hasFailed)) print(name);
} else if (command === "count") {
  const files = new Map(runs.flat().map((file) => [file.name, file]));
  const tests = [...files.values()].flatMap(({ assertionResults }) => assertionResults);
  const passed = tests.filter(({ status }) => status === "passed").length;
  const notLoaded = [...files.values()].filter(
    (file) => hasFailed(file) && file.assertionResults.length === 0,
  );
  print(`${passed} ${tests.length - passed + notLoaded.length}`);
} else {
  const [inFirst, inSecond] = runs.map(outcomes);
  const names = new Set([...inFirst.keys(), ...inSecond.keys()]);
  for (const name of names) {
    const [one, other] = [inFirst.get(name), inSecond.get(name)];
    if (isGood(one) && isGood(other)) continue;
    print(
      `== ${name}: ${one?.status ?? "not run"} in the first run, ${other?.status ?? "not run"} in the second`,
    );
    for (const { messages } of [one, other].filter(Boolean)) {
      for (const line of messages.join("\n").split("\n").filter(Boolean).slice(0, 15)) print(`   ${line}`);
    }
  }
}

function isGood(outcome) {
  return outcome === undefined || outcome.status === "passed";
}

/** What became of each test of a run, and of each file that did not load, by its name. */
function outcomes(files) {
  return new Map(
    files.flatMap(({ name, message, assertionResults }) => {
      const path = relative(process.cwd(), name);
      if (assertionResults.length === 0 && message)
        return [[path, { status: "not loaded", messages: [message] }]];
      return assertionResults.map(({ status, fullName, failureMessages }) => [
        `${path} > ${fullName}`,
        { status, messages: failureMessages },
      ]);
    }),
  );
}

function print(line) {
  process.stdout.write(`${line}\n`);
}
