// Reads JSON reports of vitest: that of all tests, and where there is one that of a second run of some of its files.
//   node failed-tests.cjs files <report>            the files with a failed test, a line each
//   node failed-tests.cjs count <report> [<again>]  "<passed> <failed>"; a second run of a file stands for the first
//   node failed-tests.cjs print <report> [<again>]  each failed test of each run, with its message
const { existsSync, readFileSync } = require("node:fs");

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
  runs.forEach((files, run) => {
    for (const file of files.filter(hasFailed)) printFailures(file, run === 0 ? "first run" : "second run");
  });
}

function printFailures({ name, message, assertionResults }, run) {
  if (assertionResults.length === 0) print(`== ${run}: ${name} did not load: ${message}`);
  for (const { status, fullName, failureMessages } of assertionResults) {
    if (status === "passed") continue;
    print(`== ${run}: ${name} > ${fullName}: ${status}`);
    for (const line of failureMessages.join("\n").split("\n").slice(0, 15)) print(`   ${line}`);
  }
}

function print(line) {
  process.stdout.write(`${line}\n`);
}
