#!/usr/bin/env node
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { mainHelp } from "./doctor/arguments.js";
import { doctor } from "./doctor/command.js";
import { handover } from "./doctor/handover-command.js";
import { holder } from "./doctor/holder-command.js";
import { runCommand } from "./doctor/run-command.js";

const { argv, env, stdin, stdout, stderr } = process;

/** On stderr: stdout may be a file. The end of the input is a no. */
async function ask(question: string): Promise<boolean> {
  const terminal = createInterface({ input: stdin, output: stderr });
  try {
    const ended = once(terminal, "close").then(() => "");
    const answer = await Promise.race([terminal.question(`${question} [y/N] `), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}

function version(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

async function run([command, ...rest]: readonly string[]): Promise<number> {
  const print = (text: string) => void stdout.write(`${text.trimEnd()}\n`);
  const complain = (text: string) => void stderr.write(`${text}\n`);
  if (command === "--version" || rest.includes("--version")) {
    print(version());
    return 0;
  }
  const terminal = { print, complain, ask: stdin.isTTY && stderr.isTTY ? ask : undefined };
  switch (command) {
    case "doctor":
      return runCommand(rest, env, terminal, doctor);
    case "holder":
      return runCommand(rest, env, terminal, holder(readersEnd.signal));
    case "handover":
      return runCommand(rest, env, terminal, handover);
    case undefined:
    case "--help":
    case "-h":
      print(mainHelp);
      return 0;
    default:
      complain(`There is no such command.\n\n${mainHelp}`);
      return 2;
  }
}

/** `| head` has read enough: nothing more is written, and what was found stays the exit code. */
const readersEnd = new AbortController();
stdout.on("error", () => readersEnd.abort());

process.exitCode = await run(argv.slice(2));
