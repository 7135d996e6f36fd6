import { existsSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { platformFacts } from "./instance.js";

/** Platforms that give every instance a disk of its own: a file lock there excludes nobody. */
const separateDisks = new Set([
  "render",
  "railway",
  "fly",
  "heroku",
  "koyeb",
  "kubernetes",
  "cloud-run",
  "ecs",
]);

// statfs f_type values (linux/magic.h) of a container's own layers, which no other container sees.
const containerFileSystems = new Set([0x794c7630 /* overlayfs */, 0x01021994 /* tmpfs */]);

/**
 * Why a lock file in `directory` probably does not reach the other instances of the bot; undefined where it does.
 * A guess by the platform's environment variables and, in containers, by the type of the file system.
 */
export function separateDiskReason(directory: string, env = process.env): string | undefined {
  const { platform } = platformFacts(env);
  if (platform && separateDisks.has(platform)) return `every instance on ${platform} has a disk of its own`;
  if (!isContainer() || !containerFileSystems.has(fileSystemType(directory))) return undefined;
  return "the lock directory is inside the container, where no other container sees it";
}

function isContainer(): boolean {
  return existsSync("/.dockerenv") || existsSync("/run/.containerenv");
}

/** Of the directory, or of the nearest one above it that exists; 0 where it cannot be told. */
function fileSystemType(directory: string): number {
  if (!existsSync(directory) && dirname(directory) !== directory) return fileSystemType(dirname(directory));
  try {
    return statfsSync(directory).type;
  } catch {
    return 0;
  }
}
