import { execFileSync } from "node:child_process";
import { type Browser, chromium } from "playwright-core";
import { installPackages } from "./server-process.js";

/** A headless Chromium: the one of this machine, else Debian's package, which is installed where we may. */
export async function startChromium(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? findChromium() ?? installChromium();
  // Chromium's sandbox refuses to run as root.
  return await chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

function findChromium(): string | undefined {
  try {
    return execFileSync("sh", ["-c", "command -v chromium || command -v google-chrome"]).toString().trim();
  } catch {
    return undefined;
  }
}

function installChromium(): string {
  installPackages("chromium");
  const installed = findChromium();
  if (installed) return installed;
  throw new Error("These tests need Chromium: install it, or name it in CHROMIUM.");
}
