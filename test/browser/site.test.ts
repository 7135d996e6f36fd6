import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
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
/** One for all tests: opening another costs more than loading a page. */
let page: Page;
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
  page = await browser.newPage({ reducedMotion: "reduce" });
}, 300_000);

afterAll(async () => {
  await browser?.close();
  server?.close();
});

const pages = () =>
  readdirSync(dist, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".html") && file !== "404.html" && !file.startsWith("api/"),
  );
/** Of the API reference one page of each kind: they are all of one make. */
const apiPages = () =>
  [
    "index.html",
    "modules/index.html",
    "interfaces/index.SafePollingOptions.html",
    "functions/index.safeStartPolling.html",
  ].map((file) => `api/${file}`);

async function open(path: string, { width = 1200, height = 800 } = {}): Promise<void> {
  await page.setViewportSize({ width, height });
  await page.goto(`${url}/${path}`, { waitUntil: "load" });
}

afterEach(() => page.emulateMedia({ colorScheme: null }));

describe("the site", () => {
  it.each([
    ["409", "", "409"],
    ["terminated by other getUpdates", "", "409"],
    ["два экземпляра", "ru/", "grammy-safe-polling"],
  ])("finds “%s”", async (words, home, title) => {
    await open(home);

    await page.locator("#local-search button").click();
    await page.locator("input.search-input").fill(words);
    await page.locator(".results .result").first().waitFor();

    expect(await page.locator(".results").textContent()).toContain(title);
  });

  it("has the text of every page", () => {
    // A page that cannot be rendered is told in the log of the build, which goes on.
    const empty = pages().filter((path) => !readFileSync(join(dist, path), "utf8").includes("<h1"));

    expect(pages().length).toBeGreaterThan(30);
    expect(empty).toEqual([]);
  });

  it("has no link that leads nowhere", () => {
    const dead: string[] = [];
    const html = (path: string) => readFileSync(join(dist, path), "utf8");
    for (const path of pages()) {
      for (const [, link = ""] of html(path).matchAll(/<a\b[^>]* href="([^"]+)"/g)) {
        const { origin, pathname, hash } = new URL(link.replaceAll("&amp;", "&"), `http://site/${path}`);
        if (origin !== "http://site") continue;
        const file = decodeURI(pathname)
          .replace(/^\//, "")
          .replace(/(^|\/)$/, "$1index.html");
        const isThere = existsSync(join(dist, file));
        const isNamed = !isThere || hash === "" || html(file).includes(`id="${decodeURI(hash).slice(1)}"`);
        if (!isThere || !isNamed) dead.push(`${path}: ${link}`);
      }
    }

    expect(dead).toEqual([]);
  });

  it("scrolls sideways on no page that is 400 pixels wide", async () => {
    const wide: string[] = [];
    // As it is served: its scripts change no width, and take most of the time of a page.
    const plain = await browser.newPage({
      javaScriptEnabled: false,
      viewport: { width: 400, height: 800 },
    });
    for (const path of [...pages(), ...apiPages()]) {
      await plain.goto(`${url}/${path}`, { waitUntil: "load" });
      const overflow = await plain.evaluate<number>(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth",
      );
      if (overflow > 0) wide.push(`${path}: ${overflow}`);
    }
    await plain.close();

    expect(wide).toEqual([]);
  });

  // What the dark pages have of their own is their colours.
  it.each([
    ["light", {}],
    ["dark", { runOnly: ["color-contrast"] }],
  ] as const)("has no serious finding of axe, %s", async (colorScheme, rules) => {
    // Left out: links within the folding headings of typedoc, which it writes so.
    const axe = readFileSync(join(root, "node_modules/axe-core/axe.min.js"), "utf8");
    await page.emulateMedia({ colorScheme });
    for (const path of [
      "index.html",
      "409.html",
      "options.html",
      "how-it-works.html",
      "free-plans.html",
      "ru/index.html",
      "ru/options.html",
      ...apiPages(),
    ]) {
      await open(path);
      await page.evaluate(axe);
      const serious = await page.evaluate<string[]>(`
        axe.run({ exclude: [".tsd-accordion-summary"] }, ${JSON.stringify({ resultTypes: ["violations"], ...rules })}).then(({ violations }) =>
          violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
            .map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html.slice(0, 120)).join(" | ")))`);
      expect(serious, path).toEqual([]);
    }
  });

  it("shows the pictures of its pages", async () => {
    const broken: string[] = [];
    for (const path of ["index.html", "benchmarks.html", "playground.html", "ru/index.html"]) {
      await open(path);
      const found = await page.evaluate<string[]>(
        "[...document.images].filter((image) => image.complete && image.naturalWidth === 0).map(({ src }) => src)",
      );
      broken.push(...found);
    }

    expect(broken).toEqual([]);
  });

  it.each([
    ["how-it-works.html", 4],
    ["benchmarks.html", 1],
    ["playground.html", 1],
    ["ru/index.html", 3],
  ])("shows the drawings of %s in light and in dark, as its switch says", async (path, count) => {
    const drawings = async (system: "light" | "dark", chosen: "auto" | "dark") => {
      await page.evaluate(`localStorage.setItem("vitepress-theme-appearance", "${chosen}")`);
      await page.emulateMedia({ colorScheme: system });
      await open(path, { height: 2400 });
      const images = await page.locator(".vp-doc img:visible").all();
      return await Promise.all(images.map(async (image) => (await image.screenshot()).toString("base64")));
    };
    const light = await drawings("light", "auto");
    const dark = await drawings("dark", "auto");
    const chosenDark = await drawings("light", "dark");
    await page.evaluate("localStorage.clear()");

    expect(light).toHaveLength(count);
    expect(dark.filter((drawing, index) => drawing === light[index])).toEqual([]);
    expect(chosenDark.map((drawing, index) => drawing === dark[index])).toEqual(dark.map(() => true));
  });

  it("leads to the API reference", async () => {
    await open("index.html");

    await page.locator(".VPNavBarMenu").getByText("API").click();
    await page.waitForURL("**/api/index.html");

    expect(await page.locator("h1").textContent()).toContain("grammy-safe-polling");
  });

  it("paints within a second on loopback", async () => {
    const paths = ["index.html", "409.html", "options.html", "ru/index.html", "api/index.html"];
    const firstPaint = async (path: string) => {
      const entry = `performance.getEntriesByName("first-contentful-paint")[0]?.startTime`;
      await open(path);
      await page.waitForFunction(entry);
      return page.evaluate<number>(entry);
    };
    for (const path of paths) {
      const tries = [await firstPaint(path), await firstPaint(path), await firstPaint(path)];
      const best = Math.min(...tries);
      console.log(`${path}: first contentful paint after ${best.toFixed(0)} ms`);
      // The best of three: others share this machine.
      expect(best, path).toBeLessThan(1_000);
    }
  });
});
