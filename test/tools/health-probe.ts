import type { Instance } from "./bot-fleet.js";

/** Where an instance with `serves: true` has its health endpoints. */
export async function healthUrl(instance: Instance): Promise<string> {
  const { port } = await instance.line("health server");
  return `http://127.0.0.1:${port}`;
}

/** What a platform's health check sees: the status, or that nobody answers. */
export async function probe(url: string): Promise<number | "refused"> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.status;
  } catch {
    return "refused";
  }
}

/** Asks again and again, as platforms do, until `isEnough`. Resolves with all that was seen, without repetitions. */
export async function probeUntil(
  url: string,
  isEnough: (status: number | "refused") => boolean,
  deadlineMs = 30_000,
): Promise<(number | "refused")[]> {
  const seen: (number | "refused")[] = [];
  const end = performance.now() + deadlineMs;
  while (performance.now() < end) {
    const status = await probe(url);
    if (seen.at(-1) !== status) seen.push(status);
    if (isEnough(status)) return seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${url} answered only ${seen.join(", ")} within ${deadlineMs} ms`);
}
