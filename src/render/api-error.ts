/** What a failed call to Render's API means for whoever made it. */
export type RenderFailure =
  /** 401: the key is wrong, and every other call will fail too. */
  | "unauthorized"
  /** 429, also after the waits that Render asked for. */
  | "rate-limited"
  /** 403, 404, 410 and other 4xx: this one thing cannot be had. */
  | "refused"
  /** 5xx, network, deadline, or an answer that is not what it should be. */
  | "trouble";

/**
 * A failed call to Render's API. Its message names the call and the status, never a body: answers hold the
 * secrets of other services, and a proxy's page may repeat our headers.
 */
export class RenderApiError extends Error {
  readonly failure: RenderFailure;

  constructor(failure: RenderFailure, call: string, what: string) {
    super(`${call}: ${what}`);
    this.name = "RenderApiError";
    this.failure = failure;
  }
}

export function failureOf(status: number): RenderFailure {
  if (status === 401) return "unauthorized";
  if (status === 429) return "rate-limited";
  return status >= 400 && status < 500 ? "refused" : "trouble";
}
