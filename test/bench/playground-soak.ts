// The playground under 50 messages a second: does the heap of its page grow, does its picture stutter?
// npx tsx test/bench/playground-soak.ts [--minutes 10] [--rate 50]
import { execFileSync } from "node:child_process";
import { startChromium } from "../tools/chromium.js";
import { commandLine, endWithUsage } from "../tools/command-line.js";
import { startPlayground } from "../tools/playground.js";

const usage = "usage: npx tsx test/bench/playground-soak.ts [--minutes 10] [--rate 50]";
const { values } = commandLine(usage, {
  options: { minutes: { type: "string", default: "10" }, rate: { type: "string", default: "50" } },
});
const [minutes, rate] = [Number(values.minutes), Number(values.rate)];
if (!(minutes > 0 && rate > 0)) endWithUsage(usage);
const sampleMs = 15_000;

const startedAt = performance.now();
await using playground = await startPlayground("--no-open");
const upAfterMs = performance.now() - startedAt;
const browser = await startChromium();
const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
await page.goto(playground.url);
await page.locator("#link-state.live").waitFor();
const firstPaintMs = await page.evaluate<number>(
  "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1",
);
process.stdout.write(
  `address printed after ${Math.round(upAfterMs)} ms, first paint after ${Math.round(firstPaintMs)} ms\n`,
);

await command({ type: "handler", handlerMs: 0 });
await command({ type: "rate", messagesPerSecond: rate });
await page.evaluate(`
  frames = 0;
  longestMs = 0;
  let lastAt = performance.now();
  requestAnimationFrame(function count(at) {
    frames += 1;
    longestMs = Math.max(longestMs, at - lastAt);
    lastAt = at;
    requestAnimationFrame(count);
  });`);
const session = await page.context().newCDPSession(page);
for (let elapsedMs = 0; elapsedMs < minutes * 60_000; elapsedMs += sampleMs) {
  await page.evaluate("frames = 0; longestMs = 0");
  await page.waitForTimeout(sampleMs);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize } = await session.send("Runtime.getHeapUsage");
  const [frames, longestMs] = await page.evaluate<[number, number]>("[frames, longestMs]");
  const elements = await page.evaluate<number>("document.querySelectorAll('*').length");
  const row = [
    `${((elapsedMs + sampleMs) / 1_000).toFixed(0)} s`,
    `page heap ${megabytes(usedSize)} MB`,
    `${elements} elements`,
    `${((frames / sampleMs) * 1_000).toFixed(0)} frames/s`,
    `longest frame ${longestMs.toFixed(0)} ms`,
    `server ${serverMegabytes()} MB`,
    `${await page.locator('.lane[data-lane="safe"] dd[data-counter="answered"]').textContent()} answered`,
  ];
  process.stdout.write(`${row.join(" · ")}\n`);
}
await browser.close();
playground.process.kill("SIGTERM");
await playground.exited;

async function command(content: object): Promise<void> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${playground.url}/command`, {
    method: "POST",
    headers,
    body: JSON.stringify(content),
  });
  if (!response.ok) throw new Error(await response.text());
}

/** Resident memory of the page's server. */
function serverMegabytes(): string {
  const kilobytes = execFileSync("ps", ["-o", "rss=", "-p", String(playground.process.pid)]).toString();
  return megabytes(Number(kilobytes) * 1_024);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
