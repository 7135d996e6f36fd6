import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { links } from "../../examples/playground/links.js";
import { startChromium } from "../tools/chromium.js";
import { type LaneName, PlaygroundPage, startPlayground } from "../tools/playground.js";
import { findBinaries } from "../tools/postgres-server.js";
import { processes, temporaryDirectories } from "../tools/process-group.js";
import { installRedis } from "../tools/redis-server.js";

let browser: Awaited<ReturnType<typeof startChromium>>;
beforeAll(async () => {
  browser = await startChromium();
  // The playground installs nothing.
  findBinaries();
  installRedis();
}, 300_000);
afterAll(() => browser.close());

const quick = ["--speed", "2", "--lease", "4000"];

/** What a story may cost the lane with this library; elsewhere nothing. */
const costs: Readonly<Record<string, { readonly twice?: number; readonly conflicts?: number }>> = {
  // A lease may end while a handler runs: that update comes again, as docs/guarantees.md says of a loss, and of a crash.
  redis: { twice: 1 },
  priority: { twice: 1 },
  // As docs/409.md says of a deploy without a lock.
  "no-lock": { twice: 5, conflicts: 2 },
};

const told: Readonly<Record<string, readonly RegExp[]>> = {
  "no-lock": [/v1, which has polled for a minute, leaves the bot to the newcomer/, /v1 has ended/],
  priority: [
    /v2 asks for the lock, and its priority is higher: v1 lets its handlers end/,
    /The machine of v2 is gone/,
    /v1 polls and holds the lock, after [\d.]+ m?s without a poller/,
  ],
};

// Stories mostly wait: two playgrounds play them side by side.
describe.concurrent("the stories of the playground", () => {
  it.each([[["deploy", "redis", "laptop"]], [["no-lock", "priority"]]])(
    "%s end without damage in the lane with this library, and with some in the plain one",
    async (stories) => {
      await using playground = await startPlayground(...quick);
      for (const story of stories) {
        const reducedMotion = story === "deploy" ? "no-preference" : "reduce";
        await using playing = await PlaygroundPage.open(browser, playground.url, { reducedMotion });

        await playing.play(story);

        const { twice = 0, conflicts = 0 } = costs[story] ?? {};
        const plain = await playing.counters("plain");
        const safe = await playing.counters("safe");
        expect(safe, story).toMatchObject({ lost: 0, crashes: 0 });
        expect(safe.conflicts, story).toBeLessThanOrEqual(conflicts);
        expect(safe.twice, story).toBeLessThanOrEqual(twice);
        expect(safe.answered, story).toBe(safe.pushed);
        expect(safe.pushed, story).toBeGreaterThan(30);
        expect(plain.pushed, story).toBe(safe.pushed);
        expect(plain.conflicts, story).toBeGreaterThan(0);
        expect(plain.crashes, story).toBeGreaterThan(0);
        for (const lane of ["plain", "safe"] as const) await expectCountersOfEmulator(playing, lane);
        await playing.page.getByText("Plain grammY: ").first().waitFor();
        expect(await playing.seriousFindings(), story).toEqual([]);
        for (const line of told[story] ?? []) await playing.logs(line);
      }
      playground.process.kill("SIGTERM");
      expect(await playground.exited, playground.output).toBe(0);
    },
  );
});

describe("the links of the playground", () => {
  let playground: Awaited<ReturnType<typeof startPlayground>>;
  beforeAll(async () => {
    playground = await startPlayground(...quick);
  });
  afterAll(async () => {
    playground.process.kill("SIGTERM");
    expect(await playground.exited, playground.output).toBe(0);
  });

  it("lead from every line into a page of the documentation", async () => {
    await using reading = await PlaygroundPage.open(browser, playground.url);
    const shown = await reading.page.evaluate<string[]>("[...document.links].map(({ href }) => href)");
    const hrefs = [...shown, ...Object.values(links).map(({ href }) => new URL(href, playground.url).href)];

    for (const href of new Set(hrefs)) {
      const response = await fetch(href);
      expect(response.status, href).toBe(200);
      const anchor = new URL(href).hash.slice(1);
      if (anchor !== "") expect(await response.text(), href).toContain(`id="${anchor}"`);
    }
  });

  it("are refused to pages of other sites", async () => {
    const { hostname, port } = new URL(playground.url);
    const command = JSON.stringify({ type: "kill" });

    const asForm = await fetch(`${playground.url}/command`, { method: "POST", body: command });

    expect(asForm.status).toBe(415);
    const { request } = await import("node:http");
    const status = await new Promise((resolve) => {
      request({ hostname, port, path: "/events", headers: { host: "elsewhere.example" } }, (response) => {
        response.destroy();
        resolve(response.statusCode);
      }).end();
    });
    expect(status).toBe(403);
  });
});

/** The page follows the emulator a moment later, and the plain bots go on to displace each other after the story. */
async function expectCountersOfEmulator(playing: PlaygroundPage, lane: LaneName): Promise<void> {
  await vi.waitFor(async () => {
    const { pushed, answered, repeatedAnswers, conflicts } = await playing.emulatorCounters(lane);
    const shown = await playing.counters(lane);
    const live409s = Object.values(conflicts).reduce((sum, { live }) => sum + live, 0);
    expect(shown).toMatchObject({ pushed, answered, twice: repeatedAnswers, conflicts: live409s });
    expect(shown.lost).toBe(pushed - answered);
  }, 10_000);
}

describe("the buttons of the playground", () => {
  it("do with the lock server and the instances what they say", async () => {
    await using playground = await startPlayground(...quick);
    await using free = await PlaygroundPage.open(browser, playground.url);
    await free.page.locator('input[value="redis"]:enabled').waitFor({ timeout: 60_000 });

    await free.choose("redis");
    await free.run(2);
    await free.logs("v1 polls and holds the lock");
    await free.choose("safe");
    await free.press("Add an instance");
    await free.logs("v1-2 stands by, healthy: v1 holds the lock");
    await free.press("Freeze");
    await free.logs(/v1-2 polls and holds the lock, after [\d.]+ m?s without a poller/);
    await free.press("Thaw");
    await free.logs("v1 stands by, healthy: v1-2 holds the lock");
    await free.press("Kill -9");
    await free.logs("v1-2 was killed. The platform starts it again");
    // The standby, or the killed one itself, which was started again meanwhile.
    await free.logs(/polls and holds the lock, after/, { times: 2 });
    await free.press("Cut it off");
    await free.logs("can no longer prove that it holds the lock");
    await free.press("Heal the network");
    await free.logs("The network to the lock server is back");
    await free.page.locator('.lane[data-lane="safe"] .state.polling').waitFor();
    await free.press("Kill its server");
    await free.logs("The lock server is killed");
    await free.press("Start it again");
    await free.logs("The lock server is started again");
    await free.page.locator('.lane[data-lane="safe"] .state.polling').waitFor();
    await free.press("Set a webhook");
    await free.logs("gets a 409: a webhook is set");
    await free.press("Start a rogue copy");
    await free.logs("gets a 409: somebody polls without the lock");
    await free.press("End the rogue");
    await free.logs("rogue 1 is ended");
    await free.press(/^Deploy/);
    await free.logs("Render starts v2 beside");
    await free.logs(/SIGTERM to v1\b/);
    await free.logs("v2 polls and holds the lock", { timeout: 60_000 });

    const { answered = 0, pushed = 0 } = await free.counters("safe");
    expect(answered).toBeGreaterThan(0);
    expect(pushed).toBeGreaterThanOrEqual(answered);
    // The page would complain about the end of its feed.
    await free.page.goto("about:blank");
    playground.process.kill("SIGTERM");
    expect(await playground.exited, playground.output).toBe(0);
  });

  it("can be used with the keyboard alone", async () => {
    await using playground = await startPlayground(...quick);
    await using typing = await PlaygroundPage.open(browser, playground.url);
    const { keyboard } = typing.page;
    const tabTo = async (selector: string) => {
      for (let presses = 0; presses < 40; presses++) {
        await keyboard.press("Tab");
        if ((await typing.page.locator(`${selector}:focus`).count()) > 0) return;
      }
      throw new Error(`Tab does not lead to ${selector}`);
    };

    await tabTo('button[data-story="deploy"]');
    await keyboard.press("Enter");
    await typing.step("step 1");
    await tabTo("#stop-story");
    await keyboard.press("Enter");
    await typing.step("stopped");
    expect(await typing.page.locator(":focus").textContent()).toContain("A Render deploy");
    await tabTo('input[name="lane"]');
    await keyboard.press("ArrowRight");
    await tabTo('button[data-command="kill"]');
    await keyboard.press("Space");

    await typing.logs("v1 was killed");
    const killedLanes = await typing.page
      .locator("#log li")
      .filter({ hasText: "was killed" })
      .allTextContents();
    expect(killedLanes.filter((text) => text.includes("Safe"))).toEqual([]);
  });
});

describe("the page of the playground", () => {
  it.each(["light", "dark"] as const)(
    "fits 400 pixels and has nothing serious for axe in %s",
    async (colorScheme) => {
      await using playground = await startPlayground(...quick);
      const narrow = { viewport: { width: 400, height: 800 }, colorScheme };
      await using phone = await PlaygroundPage.open(browser, playground.url, narrow);

      await phone.logs("v1 polls.");
      await phone.press("Deploy a new version");
      await phone.logs(/v1 (has ended|crashed)/);

      const width = await phone.page.evaluate<number>("document.documentElement.scrollWidth");
      expect(width).toBeLessThanOrEqual(400);
      expect(await phone.seriousFindings()).toEqual([]);
    },
  );

  it("moves smoothly, and once a second where less motion is asked for", async () => {
    await using playground = await startPlayground(...quick);
    const countFrames = `
      frames = 0;
      const { clearRect } = CanvasRenderingContext2D.prototype;
      CanvasRenderingContext2D.prototype.clearRect = function (...args) {
        frames += 1;
        return clearRect.apply(this, args);
      };`;
    const openWith = (reducedMotion: "reduce" | "no-preference") =>
      PlaygroundPage.open(browser, playground.url, { reducedMotion }, countFrames);

    {
      await using still = await openWith("reduce");
      const twoSeconds = "frames = 0; new Promise((resolve) => setTimeout(() => resolve(frames), 2_000))";
      // Both lanes draw; a row that comes or goes draws once more.
      expect(await still.page.evaluate<number>(twoSeconds)).toBeLessThanOrEqual(10);
    }
    await using moving = await openWith("no-preference");
    // A third of a second on an idle machine. Redrawing once a second would take three times the deadline.
    const frames = () => moving.page.evaluate<number>("frames");
    const before = await frames();
    await vi.waitFor(async () => expect(await frames()).toBeGreaterThan(before + 40), 6_000);
  });
});

describe("the end of the playground", () => {
  it.each(["SIGTERM", "SIGKILL"] as const)("leaves no process and no directory after %s", async (signal) => {
    await using playground = await startPlayground(...quick);
    await using watching = await PlaygroundPage.open(browser, playground.url);
    for (const kind of ["postgres", "redis"])
      await watching.page.locator(`input[value="${kind}"]:enabled`).waitFor({ timeout: 60_000 });
    await watching.press("Start a rogue copy");
    await watching.logs("rogue 1 starts");
    // A frozen process cannot notice that the server is gone.
    await watching.press("Freeze");
    await watching.logs("is frozen");
    const started = playground.descendants;
    const { pid } = playground.process;
    const commands = started.map(({ args }) => args).join("\n");
    for (const program of ["bot-process.mjs", "guard.mjs", "redis-server", "postgres"])
      expect(commands).toContain(program);
    // Its feed ends with it.
    await watching.page.goto("about:blank");

    playground.process.kill(signal);

    expect(await playground.exited, playground.output).toBe(signal === "SIGTERM" ? 0 : null);
    const isLeft = () => playgroundLeftovers(started, pid);
    await expect.poll(isLeft, { timeout: 10_000 }).toEqual([]);
  });
});

function playgroundLeftovers(started: ReturnType<typeof processes>, serverPid: number | undefined): string[] {
  const running = processes();
  const alive = running
    .filter(({ pid, args }) => started.some((one) => one.pid === pid && one.args === args))
    .map(({ pid }) => `process ${pid}`);
  return [...alive, ...temporaryDirectories(`grammy-safe-polling-playground-${serverPid}-`)];
}
