import { type ParseArgsConfig, parseArgs } from "node:util";

/** What a program was told on its command line, which ends with `usage` and code 2 where it was not understood. */
export function commandLine<T extends ParseArgsConfig>(
  usage: string,
  config: T,
): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    return endWithUsage(`${(error as Error).message}\n${usage}`);
  }
}

export function endWithUsage(usage: string): never {
  console.error(usage);
  process.exit(2);
}
