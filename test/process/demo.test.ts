import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBotApi } from "grammy-safe-polling/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { root } from "../tools/markdown.js";
import { ProcessGroup, processes, temporaryDirectories } from "../tools/process-group.js";
import { Program } from "../tools/program.js";

const demo = (...args: readonly string[]) => new ProcessGroup("examples/demo/demo.ts", args);

/** The number in the row of the demo's table. */
function figure({ output }: Program, label: string): number {
  const value = new RegExp(`^ +${label.replace(/[()]/g, "\\$&")} +(\\d+)`, "m").exec(output)?.[1];
  if (value === undefined) throw new Error(`no row "${label}" in:\n${output}`);
  return Number(value);
}

const isSource = (path: string) => !path.includes("node_modules");

/** The demo's temporary directories that are still there. */
function directories({ process: { pid } }: ProcessGroup): string[] {
  return temporaryDirectories(`grammy-safe-polling-demo-${pid}-`);
}

describe("npm run demo", () => {
  it("works in a fresh clone, where nothing was built", async () => {
    const clone = mkdtempSync(join(tmpdir(), "gsp-clone-"));
    onTestFinished(() => rmSync(clone, { recursive: true }));
    for (const path of ["package.json", "tsconfig.json", "tsup.config.ts", "src", "examples", "test"])
      cpSync(join(root, path), join(clone, path), { recursive: true, filter: isSource });
    symlinkSync(join(root, "node_modules"), join(clone, "node_modules"));
    await using program = new Program(["run", "demo"], { program: "npm", cwd: clone });

    expect(await program.exited, program.output).toBe(0);

    expect(program.output).toContain("Promises kept");
  });

  it("tells of a deploy and a crash without damage, and ends with code 0", async () => {
    await using program = demo();

    expect(await program.exited, program.output).toBe(0);

    expect(figure(program, "pushed")).toBeGreaterThan(60);
    expect(figure(program, "answered")).toBe(figure(program, "pushed"));
    expect(figure(program, "lost")).toBe(0);
    expect(figure(program, "twice on the planned deploy")).toBe(0);
    expect(figure(program, "409s (live)")).toBe(0);
    expect(figure(program, "crashes")).toBe(0);
    expect(figure(program, "code 0 on SIGTERM")).toBe(2);
    expect(figure(program, "handover")).toBeLessThan(1_000);
    expect(figure(program, "takeover")).toBeLessThan(1_000);
    expect(program.output).toContain("Promises kept");
    expect(program.output).not.toContain("\u001b");
    await program.leavesNothing();
    expect(directories(program)).toEqual([]);
  });

  it.concurrent("--unsafe shows the damage of plain grammY, and ends with code 0", async () => {
    await using program = demo("--unsafe");

    expect(await program.exited, program.output).toBe(0);

    expect(figure(program, "409s (live)")).toBeGreaterThan(0);
    expect(figure(program, "crashes")).toBeGreaterThan(0);
    expect(program.output).toContain("409: Conflict: terminated by other getUpdates request");
    await program.leavesNothing();
    expect(directories(program)).toEqual([]);
  });

  it("--no-lock tells of a deploy where the old version gives way, and ends with code 0", async () => {
    await using program = demo("--no-lock");

    expect(await program.exited, program.output).toBe(0);

    expect(figure(program, "pushed")).toBeGreaterThan(60);
    expect(figure(program, "lost")).toBe(0);
    expect(figure(program, "twice on the planned deploy")).toBeLessThanOrEqual(5);
    expect(figure(program, "409s (live)")).toBeLessThanOrEqual(2);
    expect(figure(program, "code 0 on SIGTERM")).toBe(2);
    expect(program.output).toMatch(/version 2 answers[\s\S]*SIGTERM to version 1[\s\S]*Promises kept/);
    await program.leavesNothing();
    expect(directories(program)).toEqual([]);
  });

  it.concurrent("--priority tells of a newer release that takes over, crashes, and the old one is back", async () => {
    await using program = demo("--priority");

    expect(await program.exited, program.output).toBe(0);

    expect(figure(program, "answered")).toBe(figure(program, "pushed"));
    expect(figure(program, "twice on the planned deploy")).toBe(0);
    expect(figure(program, "409s (live)")).toBe(0);
    expect(program.output).toMatch(/version 1 hands over[\s\S]*version 2 polls: handover in/);
    expect(program.output).toMatch(
      /SIGKILL to version 2[\s\S]*version 1 polls: takeover in[\s\S]*Promises kept/,
    );
    await program.leavesNothing();
    expect(directories(program)).toEqual([]);
  });

  it.concurrent("leaves nothing behind when it is ended by a signal", async () => {
    await using program = demo();
    await program.prints("version 2 starts");

    program.process.kill("SIGTERM");

    expect(await program.exited).toBe(143);
    await program.leavesNothing();
    expect(directories(program)).toEqual([]);
  });

  it.concurrent("leaves no process behind when it is killed while an instance starts", async () => {
    await using program = demo();
    await program.prints("version 2 starts");

    program.process.kill("SIGKILL");

    await program.exited;
    await program.leavesNothing();
  });

  it.concurrent("says what is wrong when an instance hangs", async () => {
    await using program = demo();
    await program.prints("version 1 polls");
    const bot = processes().find(
      ({ ppid, args }) => ppid === program.process.pid && /bot-process/.test(args),
    );

    process.kill(bot?.pid as number, "SIGSTOP");

    expect(await program.exited).toBe(1);
    expect(program.output).toContain("The demo hangs: 28 s are over. It waited until this happens: version");
    await program.leavesNothing();
  });

  it.concurrent("explains itself when an argument is unknown", async () => {
    await using program = demo("--safe");

    expect(await program.exited).toBe(2);
    expect(program.output).toContain("--safe");
    expect(program.output).toContain("Usage: npm run demo");
  });
});

describe.concurrent("examples/bot.ts", () => {
  const bot = (env: NodeJS.ProcessEnv) => new ProcessGroup("examples/bot.ts", [], env);

  it("answers a message, and ends with code 0 on SIGTERM", async () => {
    await using api = await startBotApi();
    const stateDirectory = mkdtempSync(join(tmpdir(), "gsp-demo-"));
    await using program = bot({
      BOT_TOKEN: api.bot.token,
      API_ROOT: api.url,
      STATE_DIRECTORY: stateDirectory,
    });
    api.pushMessage(api.bot.id, "hello");

    const { text } = await api.waitForEvent("sent", undefined, { timeoutMs: 20_000 });
    program.process.kill("SIGTERM");

    expect(await program.exited, program.output).toBe(0);
    rmSync(stateDirectory, { recursive: true });
    expect(text).toBe("hello");
    expect(api.counters()).toMatchObject({ pending: 0, answered: 1, repeatedAnswers: 0 });
    expect(program.output).toContain("bye");
    expect(program.output).not.toContain(api.bot.token.split(":")[1]);
    await program.leavesNothing();
  });

  it("says what to type when BOT_TOKEN is missing", async () => {
    await using program = bot({ BOT_TOKEN: undefined });

    expect(await program.exited).toBe(2);
    expect(program.output).toContain("BOT_TOKEN=123456:ABC npx tsx examples/bot.ts");
  });

  it("says which variable is missing for LOCK=postgres", async () => {
    await using program = bot({ BOT_TOKEN: "1:a", LOCK: "postgres", DATABASE_URL: undefined });

    expect(await program.exited).toBe(1);
    expect(program.output).toContain("is DATABASE_URL set?");
  });
});
