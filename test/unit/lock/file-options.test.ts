import { describe, expect, test, vi } from "vitest";
import { type FileLockOptions, fileLock } from "../../../src/lock/file/file-lock.js";
import { stateDirectory } from "../../../src/platform/shared-disk.js";
import { connectPeer } from "../../tools/lock-peer.js";

const invalid = (message: string) =>
  expect.objectContaining({ code: "ERR_INVALID_OPTION", message: expect.stringContaining(message) });

describe("fileLock", () => {
  test.each([
    [{ directory: undefined }, "Expected `fileLock.directory` to be a non-empty string, got undefined."],
    [{ directory: "" }, 'Expected `fileLock.directory` to be a non-empty string, got "".'],
    [{ directory: 5 }, "Expected `fileLock.directory` to be a non-empty string, got 5."],
    [
      { directory: "~/locks" },
      'Expected `fileLock.directory` to be a path without `~`, which only a shell knows, got "~/locks".',
    ],
    [{ directory: "~" }, "a path without `~`"],
    [
      { allowNetworkFileSystem: "yes" },
      'Expected `fileLock.allowNetworkFileSystem` to be a boolean, got "yes".',
    ],
    [{ dir: "/x" }, "`fileLock` has no option `dir`. It has: directory, allowNetworkFileSystem."],
    [
      { allowNetworkFilesystems: true },
      "`fileLock` has no option `allowNetworkFilesystems`. Did you mean `allowNetworkFileSystem`?",
    ],
    [
      "/var/lib/bot",
      'Expected `fileLock` to be an object of options (directory, allowNetworkFileSystem), got "/var/lib/bot".',
    ],
  ])("refuses %j at once", (options, message) => {
    expect(() => fileLock(options as FileLockOptions)).toThrow(invalid(message));
  });

  test("takes a directory whose name begins with ~", () => {
    expect(fileLock({ directory: "~locks" }).location).toBe(`${process.cwd()}/~locks`);
  });

  test("needs no options", () => {
    expect(fileLock()).toMatchObject({ name: "file", pollMs: 250 });
    expect(fileLock({}).leaseMs).toBeUndefined();
  });
});

describe("the state directory", () => {
  const home = () => "/home/bot";

  test.each([
    ["systemd's", { STATE_DIRECTORY: "/var/lib/bot", XDG_STATE_HOME: "/x" }, "/var/lib/bot"],
    ["the first of systemd's", { STATE_DIRECTORY: "/var/lib/bot:/var/lib/other" }, "/var/lib/bot"],
    ["the user's choice", { XDG_STATE_HOME: "/data/state" }, "/data/state/grammy-safe-polling"],
    ["the user's default", {}, "/home/bot/.local/state/grammy-safe-polling"],
    [
      "no empty path, and no relative one of XDG",
      { STATE_DIRECTORY: "", XDG_STATE_HOME: "state" },
      "/home/bot/.local/state/grammy-safe-polling",
    ],
  ])("is %s", (_, env, directory) => {
    expect(stateDirectory({ env, platform: "linux", home })).toBe(directory);
  });

  test.each([
    ["STATE_DIRECTORY is a relative path (./locks)", { STATE_DIRECTORY: "./locks" }, "/home/bot"],
    ["HOME is empty", {}, ""],
    ["HOME is a relative path (home)", {}, "home"],
  ])("is refused where %s", (reason, env, homePath) => {
    expect(() => stateDirectory({ env, platform: "linux", home: () => homePath })).toThrow(reason);
  });

  test("that is refused is told by the lock, with the ways out", async () => {
    vi.stubEnv("STATE_DIRECTORY", "./locks");
    const lock = fileLock();
    expect(lock.location).toBeUndefined();
    await expect(connectPeer(lock)).rejects.toMatchObject({
      code: "ERR_LOCK_CONFIG",
      message: expect.stringMatching(/STATE_DIRECTORY is a relative path.*fileLock\({ directory }\)/),
    });
    vi.unstubAllEnvs();
  });

  test("is %LOCALAPPDATA% on Windows", () => {
    const env = { LOCALAPPDATA: "C:\\Users\\bot\\AppData\\Local", XDG_STATE_HOME: "/x" };
    const winHome = () => "C:\\Users\\bot";

    const expected = "C:\\Users\\bot\\AppData\\Local\\grammy-safe-polling";
    expect(stateDirectory({ env, platform: "win32", home: winHome })).toBe(expected);
    expect(stateDirectory({ env: {}, platform: "win32", home: winHome })).toBe(expected);
  });
});
