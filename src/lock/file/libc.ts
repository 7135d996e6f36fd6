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
export function openLibc(runtime: object, platform = process.platform): Libc | undefined {
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
