const maxKeys = 10;
/** Far below the server's limit of 8000 bytes. */
const maxLength = 1_000;

/** Payload of the notification that keys were released: their names, or nothing where they are many. */
export function announce(keys: readonly string[]): string {
  const payload = JSON.stringify(keys);
  return keys.length <= maxKeys && payload.length <= maxLength ? payload : "";
}

/** The keys that a notification names; `undefined` stands for any key. What is not ours says nothing. */
export function announced(payload: string): readonly (string | undefined)[] {
  if (payload === "") return [undefined];
  if (payload.length > maxLength) return [];
  try {
    const keys: unknown = JSON.parse(payload);
    return Array.isArray(keys) ? keys.filter((key) => typeof key === "string").slice(0, maxKeys) : [];
  } catch {
    return [];
  }
}
