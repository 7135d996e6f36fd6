// Takes the pictures of the playground: `npm run playground:shots`. Two go into docs/, the others into a directory.
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";

const docs = fileURLToPath(new URL("../../docs", import.meta.url));
const others = join(tmpdir(), "grammy-safe-polling-shots");
const browserPath = process.env.CHROMIUM ?? "/usr/bin/chromium";

interface Shot {
  readonly file: string;
  readonly width: number;
  readonly height: number;
  readonly colorScheme: "light" | "dark";
  readonly story: string;
  /** The picture is taken so long after this step has begun, in milliseconds. */
  readonly step: number;
  readonly afterMs: number;
  readonly isWholePage?: boolean;
}

const desktop = { width: 1280, height: 1000 };
const shots: readonly Shot[] = [
  {
    ...desktop,
    file: join(docs, "playground-light.png"),
    colorScheme: "light",
    story: "deploy",
    step: 4,
    afterMs: 3_500,
  },
  {
    ...desktop,
    file: join(docs, "playground-dark.png"),
    colorScheme: "dark",
    story: "deploy",
    step: 4,
    afterMs: 3_500,
  },
  {
    ...desktop,
    file: join(others, "redis.png"),
    colorScheme: "light",
    story: "redis",
    step: 3,
    afterMs: 3_000,
    isWholePage: true,
  },
  {
    ...desktop,
    file: join(others, "laptop-end.png"),
    colorScheme: "dark",
    story: "laptop",
    step: 5,
    afterMs: 500,
    isWholePage: true,
  },
  {
    width: 400,
    height: 860,
    file: join(others, "phone-light.png"),
    colorScheme: "light",
    story: "deploy",
    step: 4,
    afterMs: 3_000,
    isWholePage: true,
  },
  {
    width: 400,
    height: 860,
    file: join(others, "phone-dark.png"),
    colorScheme: "dark",
    story: "deploy",
    step: 6,
    afterMs: 500,
    isWholePage: true,
  },
];

async function take(browser: Browser, url: string, shot: Shot): Promise<void> {
  const { width, height, colorScheme, file } = shot;
  const page = await browser.newPage({ viewport: { width, height }, colorScheme, deviceScaleFactor: 1 });
  await page.goto(url);
  await playUntil(page, shot);
  await page.screenshot({ path: file, fullPage: shot.isWholePage === true });
  await page.close();
  process.stdout.write(`${file}\n`);
}

async function playUntil(page: Page, { story, step, afterMs }: Shot): Promise<void> {
  await page.locator(`button[data-story="${story}"]:enabled`).click({ timeout: 60_000 });
  // The page may still tell of the story before.
  for (const reached of ["step 1 of", new RegExp(`step ${step} of|finished`)])
    await page.locator("#narration-step").filter({ hasText: reached }).waitFor({ timeout: 120_000 });
  await page.waitForTimeout(afterMs);
}

async function main(): Promise<void> {
  mkdirSync(others, { recursive: true });
  const wanted = process.argv.slice(2);
  const server = spawn(
    process.execPath,
    [
      "--import",
      "tsx",
      fileURLToPath(new URL("./playground.ts", import.meta.url)),
      "--no-open",
      "--port",
      "0",
    ],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const browser = await chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
  try {
    for await (const line of createInterface({ input: server.stdout })) {
      const url = /http:\S+/.exec(line)?.[0];
      if (!url) continue;
      for (const shot of shots) {
        if (wanted.length === 0 || wanted.some((part) => shot.file.includes(part)))
          await take(browser, url, shot);
      }
      break;
    }
  } finally {
    server.kill("SIGTERM");
    await browser.close();
  }
}

await main();
