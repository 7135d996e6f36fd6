import type { StoredUpdate } from "./update-queue.js";

/** Whose poll was ended by what. The design's words; the last one answers setWebhook, not getUpdates. */
export type ServerConflict = "other-poller" | "webhook-set" | "webhook-active" | "webhook-replaced";

/** An HTTP answer, with what the journal wants to know about it. */
export interface Reply {
  readonly status: number;
  readonly contentType: "application/json" | "text/html";
  readonly body: string;
  /** Also sent as a header, in seconds. */
  readonly retryAfter?: number;
  readonly updateIds?: readonly number[];
  readonly conflict?: ServerConflict;
}

/** Client.cpp abort_long_poll:16225, process_get_updates_query:15702, process_set_webhook_query:15754. */
const conflictTexts: Readonly<Record<ServerConflict, string>> = {
  "other-poller":
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
  "webhook-set": "Conflict: terminated by setWebhook request",
  "webhook-active":
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
  "webhook-replaced": "Conflict: terminated by other setWebhook",
};

/** `{"ok":true,"result":…[,"description":…]}`, Query.h JsonQueryOk:196. */
export function success(result: unknown, description?: string): Reply {
  return json(200, JSON.stringify({ ok: true, result, description }));
}

export function updatesReply(updates: readonly StoredUpdate[]): Reply {
  const body = `{"ok":true,"result":[${updates.map((update) => update.json).join(",")}]}`;
  return { ...json(200, body), updateIds: updates.map((update) => update.id) };
}

/** `{"ok":false,"error_code":…,"description":…}`, Query.h JsonQueryError:214. */
export function failure(errorCode: number, description: string): Reply {
  return json(errorCode, JSON.stringify({ ok: false, error_code: errorCode, description }));
}

/** Client.cpp get_closing_error:16286. */
export const loggedOut = failure(400, "Logged out");

/** Client.cpp get_closing_error:16289. */
export const unauthorized = failure(401, "Unauthorized");

/** Client.cpp get_closing_error:16294. */
export const restarting = failure(500, "Internal Server Error: restart");

export function conflictReply(kind: ServerConflict): Reply {
  return { ...failure(409, conflictTexts[kind]), conflict: kind };
}

export function tooManyRequests(retryAfter: number): Reply {
  const description = `Too Many Requests: retry after ${retryAfter}`;
  const body = { ok: false, error_code: 429, description, parameters: { retry_after: retryAfter } };
  return { ...json(429, JSON.stringify(body)), retryAfter };
}

/** What nginx in front of the hosted service, or of somebody's own server, says instead of the server itself. */
export function nginxPage(status: number, reason: string): Reply {
  const title = `${status} ${reason}`;
  const head = `<html>\r\n<head><title>${title}</title></head>\r\n<body>\r\n<center><h1>${title}</h1></center>\r\n`;
  return {
    status,
    contentType: "text/html",
    body: `${head}<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n`,
  };
}

function json(status: number, body: string): Reply {
  return { status, contentType: "application/json", body };
}
