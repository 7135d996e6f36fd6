import { describe, expect, it } from "vitest";
import { BotFleet, type Instance } from "../tools/bot-fleet.js";
import { type DoctorRun, runBin } from "../tools/doctor.js";
import { startLockServer } from "../tools/lock-servers.js";
import { allAnswered } from "../tools/rolling-deploys.js";

const names = ["file", "postgres", "postgres lease table", "redis"] as const;

/** Two bot processes on one lock of their own, the first of which polls. */
async function twoBots(name: (typeof names)[number]) {
  const serverName = name === "file" ? undefined : name === "redis" ? "redis" : "postgres";
  const server = serverName && (await startLockServer(serverName));
  const mode = name === "postgres lease table" ? ({ mode: "lease" } as const) : {};
  const fleet = await BotFleet.start(server?.choice(mode));
  const { lock, api } = fleet;
  const at =
    lock.kind === "file"
      ? ["--file", lock.directory]
      : [`--${serverName}`, "LOCK_URL", ...(name === "postgres lease table" ? ["--mode", "lease"] : [])];
  const env = { LOCK_URL: server?.url ?? "" };
  const a = fleet.instance("a", { handlerMs: 5 });
  await a.state("polling");
  const b = fleet.instance("b", { handlerMs: 5 });
  await b.line("standby");
  const handover = () => runBin(["handover", ...at, "--key", String(api.bot.id), "--json"], { env });
  return {
    fleet,
    a,
    b,
    handover,
    async [Symbol.asyncDispose]() {
      await fleet[Symbol.asyncDispose]();
      await server?.[Symbol.asyncDispose]();
    },
  };
}

const outcome = ({ code, stdout }: DoctorRun) => [code, JSON.parse(stdout).code];
const pidOf = ({ stdout }: DoctorRun) => Number(JSON.parse(stdout).holder?.instance?.split(":").at(-1));

async function end(instance: Instance): Promise<void> {
  instance.kill("SIGTERM");
  await instance.exited;
}

describe.concurrent.each(names)("handover with the lock: %s", (name) => {
  it("moves the lease to the other instance and back; nothing is lost or in conflict", async () => {
    await using scene = await twoBots(name);
    const { a, b, fleet, handover } = scene;
    const traffic = fleet.startTraffic(20);

    const first = await handover();
    await fleet.polling(b);
    const second = await handover();
    traffic.stop();
    await allAnswered(fleet, traffic.messages);

    expect([outcome(first), pidOf(first)]).toEqual([[0, "handed-over"], b.process.pid]);
    expect([outcome(second), pidOf(second)]).toEqual([[0, "handed-over"], a.process.pid]);
    expect(fleet.api.counters()).toMatchObject({ repeatedAnswers: 0, pollerChanges: 2 });
    expect(fleet.live409s).toBe(0);

    await end(b);
    const alone = await handover();
    expect([outcome(alone), pidOf(alone)]).toEqual([[1, "taken-again"], a.process.pid]);

    await end(a);
    expect(outcome(await handover())).toEqual([1, "free"]);
  });
});

describe.concurrent("handover says", () => {
  it("that the holder is stopping", async () => {
    await using scene = await twoBots("file");
    const { fleet, handover } = scene;
    await end(scene.b);
    await end(scene.a);
    const slow = fleet.instance("slow", { handlerMs: 5_000 });
    await slow.state("polling");
    fleet.push("takes long");
    await slow.line("handling");
    slow.kill("SIGTERM");
    await slow.state("draining");

    expect(outcome(await handover())).toEqual([1, "refused"]);
  });

  it("that the holder does not answer", async () => {
    await using scene = await twoBots("file");
    scene.a.kill("SIGSTOP");

    const run = await scene.handover();

    expect([outcome(run), pidOf(run)]).toEqual([[1, "no-answer"], scene.a.process.pid]);
  });

  it("what is wrong with the command line, and how it is used", async () => {
    const [wrong, nobody, inJson, help] = await Promise.all([
      runBin(["handover", "--watch"]),
      runBin(["handover", "--file"]),
      runBin(["handover", "--file", "--json"]),
      runBin(["handover", "--help"]),
    ]);

    expect([wrong.code, nobody.code, help.code]).toEqual([2, 2, 0]);
    expect(inJson.stdout).toMatch(/^\{"v":1,"verdict":"unknown","exitCode":2,"error":"Neither .*"\}\n$/);
    expect(nobody.stderr).toContain("Neither --key nor BOT_TOKEN says which bot.");
    expect(help.stdout).toContain("Exit code: 0 another instance took it");
  });
});
