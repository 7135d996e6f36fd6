import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startChromium } from "../tools/chromium.js";
import { root } from "../tools/markdown.js";

const dist = join(root, "docs/.vitepress/dist");
const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".woff2": "font/woff2",
};

let browser: Browser;
let server: Server;
let url: string;

beforeAll(async () => {
  // Fails on a link that leads nowhere.
  execFileSync("npm", ["run", "--silent", "site"], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://site").pathname.replace(/\/$/, "/index.html");
    const file = join(dist, path);
    if (!existsSync(file)) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" });
    response.end(readFileSync(file));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  browser = await startChromium();
}, 300_000);

afterAll(async () => {
  await browser?.close();
  server?.close();
});

const pages = () =>
  readdirSync(dist, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".html") && file !== "404.html",
  );

async function opened<T>(path: string, width: number, look: (page: Page) => Promise<T>): Promise<T> {
  const page = await browser.newPage({ viewport: { width, height: 800 } });
  try {
    await page.goto(`${url}/${path}`, { waitUntil: "load" });
    return await look(page);
  } finally {
    await page.close();
  }
}

describe("the site", () => {
  it.each([
    ["409", "", "409"],
    ["terminated by other getUpdates", "", "409"],
    ["два экземпляра", "ru/", "grammy-safe-polling"],
  ])("finds “%s”", async (words, home, title) => {
    const found = await opened(home, 1200, async (page) => {
      await page.locator("#local-search button").click();
      await page.locator("input.search-input").fill(words);
      const first = page.locator(".results .result").first();
      await first.waitFor();
      return page.locator(".results").textContent();
    });

    expect(found).toContain(title);
  });

  it("scrolls sideways on no page that is 400 pixels wide", async () => {
    const wide: string[] = [];
    for (const path of pages()) {
      const overflow = await opened(path, 400, (page) =>
        page.evaluate<number>("document.documentElement.scrollWidth - document.documentElement.clientWidth"),
      );
      if (overflow > 0) wide.push(`${path}: ${overflow}`);
    }

    expect(pages().length).toBeGreaterThan(30);
    expect(wide).toEqual([]);
  }, 120_000);

  it.each(["light", "dark"] as const)(
    "has no serious finding of axe, %s",
    async (colorScheme) => {
      const axe = readFileSync(join(root, "node_modules/axe-core/axe.min.js"), "utf8");
      for (const path of ["index.html", "409.html", "options.html", "ru/index.html"]) {
        const page = await browser.newPage({ colorScheme });
        await page.goto(`${url}/${path}`);
        await page.evaluate(axe);
        const serious = await page.evaluate<string[]>(`
        axe.run({ exclude: [".DocSearch-Button"] }, { resultTypes: ["violations"] }).then(({ violations }) =>
          violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
            .map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html.slice(0, 120)).join(" | ")))`);
        await page.close();
        expect(serious, path).toEqual([]);
      }
    },
    120_000,
  );

  it("shows the pictures of its pages", async () => {
    const broken: string[] = [];
    for (const path of ["index.html", "benchmarks.html", "playground.html", "ru/index.html"]) {
      const found = await opened(path, 1200, (page) =>
        page.evaluate<string[]>(
          "[...document.images].filter((image) => image.complete && image.naturalWidth === 0).map(({ src }) => src)",
        ),
      );
      broken.push(...found);
    }

    expect(broken).toEqual([]);
  });
});
