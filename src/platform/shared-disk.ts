import { existsSync, statfsSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, posix, win32 } from "node:path";
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

const ownName = "grammy-safe-polling";

export interface StateDirectorySources {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly platform?: NodeJS.Platform;
  home?(): string;
}

/**
 * Where this library keeps state on this machine: `$STATE_DIRECTORY` (systemd's, as it is), else
 * `$XDG_STATE_HOME/grammy-safe-polling`, else `~/.local/state/grammy-safe-polling`; on Windows
 * `%LOCALAPPDATA%\grammy-safe-polling`. Relative paths in the environment are passed over.
 * Throws what `os.homedir` throws when this user has no home.
 */
export function stateDirectory(sources: StateDirectorySources = {}): string {
  const { env = process.env, platform = process.platform, home = homedir } = sources;
  if (platform === "win32") {
    const local = absolute(env.LOCALAPPDATA, win32) ?? win32.join(home(), "AppData", "Local");
    return win32.join(local, ownName);
  }
  // systemd: one path per StateDirectory= name, separated by colons.
  const ofService = absolute(env.STATE_DIRECTORY?.split(":")[0], posix);
  if (ofService !== undefined) return ofService;
  const ofUser = absolute(env.XDG_STATE_HOME, posix) ?? posix.join(home(), ".local", "state");
  return posix.join(ofUser, ownName);
}

function absolute(path: string | undefined, rules: typeof posix): string | undefined {
  return path !== undefined && rules.isAbsolute(path) ? path : undefined;
}

/** `stateDirectory()`, or undefined where this user has no home. */
export function stateDirectoryIfAny(): string | undefined {
  try {
    return stateDirectory();
  } catch {
    return undefined;
  }
}
