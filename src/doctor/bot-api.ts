import { describeError } from "../redact.js";

/** How long the Bot API server may take for a call that does not park, in milliseconds. */
const callDeadlineMs = 10_000;

/** What came back. Everything but a result is told apart as finely as a person needs who has to repair it. */
export type Answer<T> =
  | { readonly kind: "result"; readonly result: T }
  /** A Bot API server said no. */
  | { readonly kind: "refused"; readonly status: number; readonly description: string }
  /** Something answered that is no Bot API server, or stands in front of one. */
  | { readonly kind: "foreign"; readonly status: number; readonly contentType: string }
  | { readonly kind: "unreachable"; readonly reason: string };

/** Calls to a Bot API server, past grammY, which hides status, headers and bodies that are no JSON. */
export interface BotApiClient {
  /** Without anything secret. */
  readonly address: string;
  call<T>(method: string, parameters?: object, deadlineMs?: number): Promise<Answer<T>>;
  /** How far the server's clock is ahead of ours, by the Date header of its last answer, in milliseconds. */
  aheadMs(): number | undefined;
}

interface BotAddress {
  readonly apiRoot: string;
  readonly token: string;
  /** A bot of the test environment, which is another server behind the same address. */
  readonly isTest: boolean;
}

export function botApi({ apiRoot, token, isTest }: BotAddress): BotApiClient {
  const root = apiRoot.replace(/\/+$/, "");
  let aheadMs: number | undefined;
  return {
    address: new URL(root).origin,
    aheadMs: () => aheadMs,
    async call<T>(method: string, parameters: object = {}, deadlineMs = callDeadlineMs) {
      const sent = Date.now();
      try {
        const response = await fetch(`${root}/bot${token}/${isTest ? "test/" : ""}${method}`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(parameters),
          // The token is not carried to wherever a redirection points.
          redirect: "manual",
          signal: AbortSignal.timeout(deadlineMs),
        });
        aheadMs = clockDifference(response, sent) ?? aheadMs;
        return await read<T>(response);
      } catch (error) {
        return { kind: "unreachable", reason: reasonOf(error, deadlineMs) };
      }
    },
  };
}

async function read<T>(response: Response): Promise<Answer<T>> {
  const { status, headers } = response;
  const body = parse(await response.text());
  if (body?.ok === true) return { kind: "result", result: body.result as T };
  if (body?.ok === false) return { kind: "refused", status, description: String(body.description) };
  return { kind: "foreign", status, contentType: headers.get("content-type") ?? "no content type" };
}

/** Undefined: it is none of a Bot API server. */
function parse(text: string): { ok?: unknown; result?: unknown; description?: unknown } | undefined {
  try {
    return Object(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The header counts whole seconds: on average half of one has passed since. */
function clockDifference(response: Response, sent: number): number | undefined {
  const date = Date.parse(response.headers.get("date") ?? "");
  return Number.isNaN(date) ? undefined : date + 500 - (sent + Date.now()) / 2;
}

/** fetch says only that it failed; why is in its cause. */
function reasonOf(error: unknown, deadlineMs: number): string {
  const { name, cause } = error as { name?: unknown; cause?: unknown };
  if (name === "TimeoutError") return `no answer within ${deadlineMs / 1_000} s`;
  return describeError(cause ?? error);
}
