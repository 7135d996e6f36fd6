import { constants } from "node:os";
import { fileLockError, nameOfErrno } from "./failures.js";
import type { KernelLock } from "./lock-file.js";

/**
 * Loads what takes the locks, on first use only: the native addon on Node.js, the C library on Bun and Deno.
 *
 * @throws ERR_LOCK_CONFIG where that is not installed, not allowed, or not there on this platform.
 */
export async function loadKernelLock(
  importAddon: () => Promise<KernelLock> = () => import("fs-native-extensions"),
  runtime: object = globalThis,
  platform = process.platform,
): Promise<KernelLock> {
  // Decided before the import: on Bun 1.4 a refused lock aborts the process, on Deno 2.9 the load itself does.
  const other = ["Bun", "Deno"].find((name) => name in runtime);
  if (other) return loadForeign(other, runtime, platform);
  try {
    return await importAddon();
  } catch (error) {
    throw fileLockError(
      "ERR_LOCK_CONFIG",
      `fs-native-extensions cannot be loaded on ${process.platform}-${process.arch} (${reasonOf(error as Error)})`,
      "Install it, and mark it external where code is bundled; it has no binary for every platform (32-bit ARM).",
      error,
    );
  }
}

/** One line: what comes after it lists the paths that were tried. */
function reasonOf(error: Error): string | undefined {
  const { message } = (error.cause ?? error) as Error;
  return String(message).split(/\.?(?:\n|$)/)[0];
}

function loadForeign(name: string, runtime: object, platform: NodeJS.Platform): KernelLock {
  let libc: ReturnType<typeof openLibc>;
  try {
    libc = openLibc(runtime, platform);
  } catch (error) {
    const advice = name === "Deno" ? "Run Deno with `--allow-ffi`." : "";
    throw fileLockError("ERR_LOCK_CONFIG", `${name} cannot open the C library`, advice, error);
  }
  if (libc) return libcLock(libc, platform);
  throw fileLockError("ERR_LOCK_CONFIG", `The file lock does not work with ${name} on ${platform}`);
}

/** What locks need of the C library. A call answers 0, or -1 and leaves the reason in `errno`. */
export interface Libc {
  fcntl(fd: number, command: number, argument: Uint8Array): number;
  flock(fd: number, operation: number): number;
  errno(): number;
}

/** How the C library is found, and the name of its function that tells where `errno` is. */
interface LibcPlace {
  readonly library: string;
  readonly errnoLocation: string;
}

/** musl's loader answers to the name of glibc's library too. */
const places: Partial<Record<NodeJS.Platform, LibcPlace>> = {
  linux: { library: "libc.so.6", errnoLocation: "__errno_location" },
  darwin: { library: "/usr/lib/libSystem.B.dylib", errnoLocation: "__error" },
};

/**
 * Opens the C library by the foreign function interface of Bun or Deno. Undefined: the runtime has none, or the
 * platform no library that is known here.
 */
function openLibc(runtime: object, platform = process.platform): Libc | undefined {
  const place = places[platform];
  if (!place) return undefined;
  if ("Bun" in runtime) return openInBun(place);
  if ("Deno" in runtime) return openInDeno(runtime.Deno as DenoFfi, place);
  return undefined;
}

interface BunFfi {
  dlopen(
    library: string,
    functions: Record<string, { readonly args: readonly string[]; readonly returns: string }>,
  ): { readonly symbols: Record<string, (...args: unknown[]) => number> };
  readonly read: { i32(pointer: number | undefined, offset: number): number };
}

function openInBun({ library, errnoLocation }: LibcPlace): Libc {
  // Not by an import: bundlers for Node.js end at a scheme that they do not know.
  const ffi = process.getBuiltinModule("bun:ffi") as BunFfi;
  const { symbols } = ffi.dlopen(library, {
    fcntl: { args: ["i32", "i32", "buffer"], returns: "i32" },
    flock: { args: ["i32", "i32"], returns: "i32" },
    [errnoLocation]: { args: [], returns: "ptr" },
  });
  return { ...(symbols as unknown as Libc), errno: () => ffi.read.i32(symbols[errnoLocation]?.(), 0) };
}

interface DenoFfi {
  dlopen(
    library: string,
    functions: Record<string, { readonly parameters: readonly string[]; readonly result: string }>,
  ): { readonly symbols: Record<string, (...args: unknown[]) => unknown> };
  readonly UnsafePointerView: new (pointer: unknown) => { getInt32(): number };
}

function openInDeno(deno: DenoFfi, { library, errnoLocation }: LibcPlace): Libc {
  const { symbols } = deno.dlopen(library, {
    fcntl: { parameters: ["i32", "i32", "buffer"], result: "i32" },
    flock: { parameters: ["i32", "i32"], result: "i32" },
    [errnoLocation]: { parameters: [], result: "pointer" },
  });
  const errno = () => new deno.UnsafePointerView(symbols[errnoLocation]?.()).getInt32();
  return { ...(symbols as unknown as Libc), errno };
}

type LockKind = "shared" | "exclusive" | "none";

/** fcntl.h of Linux: the one command, the lock types, and a `struct flock` of 64-bit systems. */
const setOfdLock = 37;
const lockTypes = { shared: 0, exclusive: 1, none: 2 };
const flockStructBytes = 32;

/** sys/file.h of macOS; 4: do not wait. */
const flockOperations = { shared: 1 | 4, exclusive: 2 | 4, none: 8 };

/**
 * The locks that fs-native-extensions takes, by the C library alone: open file description locks on Linux, flock
 * elsewhere. Only the same primitive on the same file excludes across runtimes.
 */
export function libcLock(libc: Libc, platform = process.platform): KernelLock {
  const set = platform === "linux" ? setLockOfDescription : setFlock;
  return {
    tryLock(fd, { shared = false } = {}) {
      if (set(libc, fd, shared ? "shared" : "exclusive") === 0) return true;
      const errno = libc.errno();
      if (errno === constants.errno.EAGAIN || errno === constants.errno.EACCES) return false;
      throw systemError("lock", errno);
    },
    unlock(fd) {
      if (set(libc, fd, "none") !== 0) throw systemError("unlock", libc.errno());
    },
  };
}

function setLockOfDescription(libc: Libc, fd: number, kind: LockKind): number {
  // All else is zero: from the start of the file to its end, whatever that is.
  const flock = new Uint8Array(flockStructBytes);
  flock[0] = lockTypes[kind];
  return libc.fcntl(fd, setOfdLock, flock);
}

function setFlock(libc: Libc, fd: number, kind: LockKind): number {
  return libc.flock(fd, flockOperations[kind]);
}

function systemError(call: string, errno: number): Error {
  const code = nameOfErrno(errno);
  return Object.assign(new Error(`${code}: cannot ${call} the file`), { code });
}
