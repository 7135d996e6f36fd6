import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { findBinaries } from "../tools/postgres-server.js";

/** What the figures were measured on, on one line. */
export function describeMachine(): string {
  const [cpu] = cpus();
  const parts = [
    new Date().toISOString().slice(0, 10),
    `${cpus().length} × ${cpu?.model.trim() || "unknown CPU"}`,
    `${Math.round(totalmem() / 2 ** 30)} GB`,
    `${type()} ${release()}`,
    `Node.js ${process.versions.node}`,
    versionOf(join(findBinaries(), "postgres"), /\) (\S+)/, "PostgreSQL"),
    versionOf("redis-server", /v=(\S+)/, "Redis"),
    `load ${loadavg()[0]?.toFixed(1)} before the run`,
  ];
  return parts.filter((part) => part !== undefined).join(", ");
}

function versionOf(program: string, pattern: RegExp, name: string): string | undefined {
  const version = pattern.exec(execFileSync(program, ["--version"], { encoding: "utf8" }))?.[1];
  return version && `${name} ${version}`;
}
