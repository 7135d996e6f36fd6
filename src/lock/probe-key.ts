/**
 * What `doctor --probe` holds, in the same lock, while it takes the bot's poll slot: whoever polls under `key` looks
 * here when it meets a conflict, and does not count one that the probe has made.
 */
export function probeKey(key: string): string {
  return `${key}:probe`;
}
