// Reads a JSON report of vitest:
//   node failed-tests.cjs count <report>   "<passed> <failed>"
//   node failed-tests.cjs print <report>   each test that failed, and its messages; of what was skipped, each file
const { existsSync, readFileSync } = require("node:fs");
const { relative } = require("node:path");

const [, , command, report] = process.argv;
const text = existsSync(report) ? readFileSync(report, "utf8") : "";
const files = text === "" ? [] : JSON.parse(text).testResults;
/** A file that could not be loaded counts as one. */
const tests = files.flatMap(({ name, status, message, assertionResults }) => {
  const path = relative(process.cwd(), name);
  if (status === "failed" && assertionResults.length === 0)
    return [{ path, name: path, status: "not loaded", messages: [message] }];
  return assertionResults.map(({ status, fullName, failureMessages }) => ({
    path,
    name: `${path} > ${fullName}`,
    status,
    messages: failureMessages,
  }));
});
const failed = tests.filter(({ status }) => status !== "passed");

if (command === "count") {
  print(`${tests.length - failed.length} ${failed.length}`);
} else {
  // A set-up that fails leaves out all of its tests; why it did is in the log only.
  const skipped = failed.filter(({ status }) => status === "skipped").map(({ path }) => path);
  for (const path of new Set(skipped))
    print(`== ${path}: skipped ${skipped.filter((other) => other === path).length}`);
  for (const { name, status, messages } of failed) {
    if (status === "skipped") continue;
    print(`== ${name}: ${status}`);
    for (const line of messages.join("\n").split("\n").filter(Boolean).slice(0, 15)) print(`   ${line}`);
  }
}

function print(line) {
  process.stdout.write(`${line}\n`);
}
