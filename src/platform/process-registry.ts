/**
 * A value that the whole process shares, made by `make` when it is first asked for. On `globalThis`, so that the ESM
 * and the CommonJS build of this library, and the same build loaded twice, share it. A slot whose shape changes gets
 * a new name: copies of two releases then each keep their own.
 */
export function shared<T>(name: string, make: () => T): T {
  const symbol = Symbol.for(`grammy-safe-polling/${name}`);
  const holder = globalThis as { [slot: symbol]: T | undefined };
  holder[symbol] ??= make();
  return holder[symbol];
}
