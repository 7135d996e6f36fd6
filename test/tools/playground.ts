import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { BotApiCounters } from "grammy-safe-polling/testing";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { expect } from "vitest";
import { ProcessGroup } from "./process-group.js";

export type LaneName = "plain" | "safe";

/** The playground as users start it, but quicker: stories wait less, leases are shorter. */
export async function startPlayground(...args: readonly string[]): Promise<ProcessGroup & { url: string }> {
  const program = new ProcessGroup("examples/playground/playground.ts", ["--port", "0", ...args]);
  await program.prints("Ctrl+C ends it");
  const url = /http:\S+/.exec(program.output)?.[0];
  if (!url) throw new Error(`no address in:\n${program.output}`);
  return Object.assign(program, { url });
}

/** A page of the playground; whatever it complains about on its console is collected. */
export class PlaygroundPage implements AsyncDisposable {
  readonly page: Page;
  readonly complaints: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(error.message));
  }

  static async open(
    browser: Browser,
    url: string,
    options: BrowserContextOptions = {},
    /** JavaScript that runs before the page's own. */
    beforeLoad = "",
  ): Promise<PlaygroundPage> {
    // To draw each frame takes more of the processor than all the bots: only where a test is about the motion.
    const page = await browser.newPage({
      viewport: { width: 1280, height: 1000 },
      reducedMotion: "reduce",
      ...options,
    });
    await page.addInitScript({ content: beforeLoad });
    const opened = new PlaygroundPage(page);
    await page.goto(url);
    await page.locator("#link-state.live").waitFor();
    await page.locator('.lane[data-lane="safe"] .rows b').nth(1).waitFor();
    return opened;
  }

  /** Plays a story to its end. */
  async play(story: string): Promise<void> {
    await this.page.locator(`button[data-story="${story}"]:enabled`).click({ timeout: 60_000 });
    await this.step("step 1");
    await this.step("finished", 100_000);
  }

  async step(text: string, timeout = 30_000): Promise<void> {
    await this.page.locator("#narration-step").filter({ hasText: text }).waitFor({ timeout });
  }

  /** Resolves when the log tells something, so many times. */
  async logs(text: string | RegExp, { times = 1, timeout = 30_000 } = {}): Promise<void> {
    const lines = this.page.locator("#log li").filter({ hasText: text });
    await lines
      .nth(times - 1)
      .waitFor({ timeout })
      .catch(async (cause) => {
        const told = await this.page.locator("#log li").allTextContents();
        throw new Error(`The log does not tell ${text}:\n${told.join("\n")}`, { cause });
      });
  }

  /** Resolves when the page shows this run, counted from 1. */
  async run(number: number): Promise<void> {
    await this.page.locator(`body[data-run="${number}"]`).waitFor();
  }

  async press(name: string | RegExp): Promise<void> {
    await this.page.getByRole("button", { name }).click();
  }

  /** Checks a radio button, by its value. */
  async choose(value: string): Promise<void> {
    await this.page.locator(`input[value="${value}"]`).check();
  }

  /** The counters that a lane shows. */
  async counters(lane: LaneName): Promise<Record<string, number>> {
    const cells = await this.page.locator(`.lane[data-lane="${lane}"] dd[data-counter]`).all();
    const entries = cells.map(async (cell) => [
      await cell.getAttribute("data-counter"),
      Number.parseFloat((await cell.textContent()) ?? ""),
    ]);
    return Object.fromEntries(await Promise.all(entries));
  }

  /** The counters of the emulator itself, asked without a detour through the playground. */
  async emulatorCounters(lane: LaneName): Promise<BotApiCounters> {
    const address = new URL("/emulator", this.page.url());
    const { url, botIds } = (await (await fetch(address)).json()) as {
      url: string;
      botIds: Record<LaneName, number>;
    };
    const response = await fetch(`${url}/_emulator/counters?botId=${botIds[lane]}`);
    return (await response.json()) as BotApiCounters;
  }

  /** What axe finds serious. */
  async seriousFindings(): Promise<string[]> {
    await this.page.evaluate(axeSource());
    const { violations } = await this.page.evaluate<AxeResults>("axe.run()");
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.close();
    expect(this.complaints).toEqual([]);
  }
}

function axeSource(): string {
  return readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
}
