import { existsSync, statfsSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, posix, win32 } from "node:path";
import { overlapOfPlatform, platformFacts } from "./instance.js";

// statfs f_type values (linux/magic.h) of a container's own layers, which no other container sees.
const containerFileSystems = new Set([0x794c7630 /* overlayfs */, 0x01021994 /* tmpfs */]);

/**
 * Why a lock file in `directory` probably does not reach the other instances of the bot; undefined where it does.
 * A guess by the platform's environment variables and, in containers, by the type of the file system.
 */
export function separateDiskReason(directory: string, env = process.env): string | undefined {
  const { platform } = platformFacts(env);
  // Where an instance lives on beside its successor, it is on another machine or in another container.
  if (overlapOfPlatform(platform) > 0) return `every instance on ${platform} has a disk of its own`;
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
 * `%LOCALAPPDATA%\grammy-safe-polling`.
 *
 * @throws where that would be below the working directory, which differs between two releases of a bot, or where
 * this user has no home.
 */
export function stateDirectory(sources: StateDirectorySources = {}): string {
  const { env = process.env, platform = process.platform, home = homedir } = sources;
  if (platform === "win32") {
    const local =
      env.LOCALAPPDATA || win32.join(absolute("USERPROFILE", homeOf(home), win32), "AppData", "Local");
    return win32.join(absolute("LOCALAPPDATA", local, win32), ownName);
  }
  // systemd: one path per StateDirectory= name, separated by colons.
  const ofService = env.STATE_DIRECTORY?.split(":")[0];
  if (ofService) return absolute("STATE_DIRECTORY", ofService, posix);
  // As its specification wants it, a relative XDG_STATE_HOME is passed over.
  const ofUser = env.XDG_STATE_HOME ?? "";
  if (posix.isAbsolute(ofUser)) return posix.join(ofUser, ownName);
  return posix.join(absolute("HOME", homeOf(home), posix), ".local", "state", ownName);
}

function homeOf(home: () => string): string {
  try {
    return home();
  } catch (cause) {
    throw new Error("This user has no home directory", { cause });
  }
}

function absolute(variable: string, path: string, rules: typeof posix): string {
  if (rules.isAbsolute(path)) return path;
  const state = path === "" ? "is empty" : `is a relative path (${path})`;
  throw new Error(`${variable} ${state}: two releases of the bot would not find each other`);
}

/** `stateDirectory()`, or undefined where it cannot be told. */
export function stateDirectoryIfAny(): string | undefined {
  try {
    return stateDirectory();
  } catch {
    return undefined;
  }
}
