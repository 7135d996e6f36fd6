import { homedir } from "node:os";
import { posix, win32 } from "node:path";

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
