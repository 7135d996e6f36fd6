import { describe, expect, test } from "vitest";
import { claimAfterWake, startProcess, temporaryDirectory } from "../tools/file-lock-bench.js";
import { type RuntimeCommand, runtimeCommand } from "./binaries.js";

const commands = {
  node: [process.execPath],
  node26: runtimeCommand("node26"),
  bun: runtimeCommand("bun"),
  deno: runtimeCommand("deno"),
} satisfies Record<string, RuntimeCommand>;

/** A holder and a waiter, connected to one directory. */
async function startPair(holderOn: keyof typeof commands, waiterOn: keyof typeof commands) {
  const directory = temporaryDirectory();
  const holder = startProcess(directory, { runtime: commands[holderOn] });
  const waiter = startProcess(directory, { runtime: commands[waiterOn] });
  await holder.next("connected");
  await waiter.next("connected");
  return { holder, waiter };
}

describe.each([
  ["node", "bun"],
  ["bun", "node"],
  ["node", "deno"],
  ["deno", "node"],
  ["bun", "deno"],
  ["node26", "node"],
] as const)("a file lock held on %s", (holderOn, waiterOn) => {
  test(`excludes ${waiterOn}, and is free in the moment its holder is killed`, async () => {
    const { holder, waiter } = await startPair(holderOn, waiterOn);
    await holder.ask("claim", { keys: ["1", "2"] });

    const refusal = await waiter.ask("claim", { keys: ["1", "2"] });
    expect(refusal.claims).toMatchObject([
      { granted: false, holder: { instance: `process ${holder.child.pid}` } },
      { granted: false, holder: { instance: `process ${holder.child.pid}` } },
    ]);

    await holder.kill("SIGKILL");
    await waiter.next("wake");
    expect(await claimAfterWake(waiter, ["1", "2"])).toMatchObject({ granted: 2 });
  });

  test(`goes to ${waiterOn} and back by release`, async () => {
    const { holder, waiter } = await startPair(holderOn, waiterOn);
    await holder.ask("claim", { keys: ["1"] });
    await waiter.ask("claim", { keys: ["1"] });

    await holder.ask("release", { keys: ["1"] });
    await waiter.next("wake");
    expect(await waiter.ask("claim", { keys: ["1"] })).toMatchObject({ granted: 1 });

    expect(await holder.ask("claim", { keys: ["1"] })).toMatchObject({ granted: 0 });
    await waiter.ask("release", { keys: ["1"] });
    await holder.next("wake");
    expect(await holder.ask("claim", { keys: ["1"] })).toMatchObject({ granted: 1 });
  });
});

describe("Deno without --allow-ffi", () => {
  test("refuses the file lock with a code and the fix, and goes on", async () => {
    const [deno] = commands.deno;
    const permissions = ["read", "write", "env", "sys", "net"].map((name) => `--allow-${name}`);
    const runtime: RuntimeCommand = [deno, "run", "--no-prompt", ...permissions];

    const refused = startProcess(temporaryDirectory(), { runtime }).next("connected");

    await expect(refused).rejects.toThrow(/^ERR_LOCK_CONFIG: .*--allow-ffi/);
  });
});
