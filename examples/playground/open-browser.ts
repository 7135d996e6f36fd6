import { spawn } from "node:child_process";

const openers: Partial<Record<NodeJS.Platform, readonly [string, ...string[]]>> = {
  darwin: ["open"],
  win32: ["cmd", "/c", "start", ""],
};

/** Opens a page in the user's browser; where there is none, the printed address is enough. */
export function openBrowser(url: string): void {
  const [file, ...args] = openers[process.platform] ?? ["xdg-open"];
  const opener = spawn(file, [...args, url], { stdio: "ignore", detached: true });
  opener.on("error", () => {});
  opener.unref();
}
