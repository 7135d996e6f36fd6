import { isIP } from "node:net";
import type { Clock, Timer } from "../../clock.js";
import { type Arguments, booleanArgument, integerArgument } from "./arguments.js";
import { limits } from "./limits.js";
import type { ConflictThrottle, LongPoll } from "./long-poll.js";
import { failure, type Reply, success, tooManyRequests } from "./reply.js";
import type { ApiRequest } from "./request.js";
import type { UpdateQueue } from "./update-queue.js";
import { shownAllowedUpdates } from "./update-types.js";

/** A webhook that is set. Nothing is ever sent to it. */
interface WebhookSettings {
  readonly url: string;
  readonly maxConnections: number;
  readonly ipAddress: string;
  readonly secretToken: string;
}

/** What the webhook methods know of their bot. */
export interface WebhookContext {
  readonly clock: Clock;
  readonly queue: UpdateQueue;
  readonly longPoll: LongPoll;
  readonly conflicts: ConflictThrottle;
  readonly allowedUpdates: ReadonlySet<string>;
  /** Takes the `allowed_updates` of a call over, where it has them. */
  applyAllowedUpdates(request: ApiRequest): void;
  /** How long setting one up or closing one takes, in milliseconds. */
  readonly webhookSetupMs: number;
}

/** A setWebhook or deleteWebhook that was not answered yet. */
interface PendingChange {
  readonly request: ApiRequest;
  readonly timer: Timer;
}

/** setWebhook, deleteWebhook and getWebhookInfo of one bot. Client.cpp process_set_webhook_query:15726-15798. */
export class Webhook {
  readonly #context: WebhookContext;
  #settings: WebhookSettings | undefined;
  #pending: PendingChange | undefined;
  #nextSetAt = Number.NEGATIVE_INFINITY;
  #lastError: { readonly last_error_date: number; readonly last_error_message: string } | undefined;

  constructor(context: WebhookContext) {
    this.#context = context;
  }

  /** Whether getUpdates has to be refused: a webhook is set, or a change of it is under way. */
  get isActive(): boolean {
    return this.#settings !== undefined || this.#pending !== undefined;
  }

  forget(): void {
    this.#settings = undefined;
    this.#lastError = undefined;
  }

  /** Ends a change that was not answered yet. Client.cpp on_closed:9260. */
  endChange(closing: Reply): void {
    this.#pending?.timer.clear();
    this.#pending?.request.reply(closing);
    this.#pending = undefined;
  }

  /** A delivery has failed at `wallMs`. */
  failed(message: string, wallMs: number): void {
    this.#lastError = { last_error_date: Math.floor(wallMs / 1_000), last_error_message: message };
  }

  change(request: ApiRequest): void {
    const { clock, conflicts, longPoll } = this.#context;
    const wanted = request.method === "setwebhook" ? settingsOf(request.args) : undefined;
    if (wanted !== undefined) {
      const now = clock.now().monotonicMs;
      if (now < this.#nextSetAt) return request.reply(tooManyRequests(1));
      this.#nextSetAt = now + limits.setWebhookIntervalMs;
    }

    if (this.#pending !== undefined) {
      this.#pending.timer.clear();
      conflicts.fail(this.#pending.request, "webhook-replaced");
      this.#pending = undefined;
    } else if (isSame(wanted, this.#settings) && !booleanArgument(request.args, "drop_pending_updates")) {
      this.#context.applyAllowedUpdates(request);
      return request.reply(success(true, `Webhook is already ${wanted === undefined ? "deleted" : "set"}`));
    }

    if (wanted !== undefined) longPoll.displace("webhook-set");
    if (this.#settings === undefined) return this.#open(request, wanted, false);
    this.#afterSetup(request, () => {
      this.#settings = undefined;
      this.#open(request, wanted, true);
    });
  }

  /** Client.cpp JsonWebhookInfo:5945. */
  info(request: ApiRequest): void {
    const settings = this.#settings;
    const { allowedUpdates, queue } = this.#context;
    request.reply(
      success({
        url: settings?.url ?? "",
        has_custom_certificate: false,
        pending_update_count: queue.size,
        ...this.#lastError,
        max_connections: settings?.maxConnections,
        ip_address: settings === undefined ? undefined : settings.ipAddress || "<unknown>",
        allowed_updates: shownAllowedUpdates(allowedUpdates),
      }),
    );
  }

  /** Client.cpp do_set_webhook:16006. */
  #open(request: ApiRequest, wanted: WebhookSettings | undefined, wasDeleted: boolean): void {
    if (booleanArgument(request.args, "drop_pending_updates")) this.#context.queue.clear();
    if (wanted === undefined) {
      return request.reply(success(true, wasDeleted ? "Webhook was deleted" : "Webhook is already deleted"));
    }
    const malformed = malformation(wanted);
    if (malformed !== undefined) return request.reply(failure(400, `Bad Request: ${malformed}`));
    this.#lastError = undefined;
    this.#context.applyAllowedUpdates(request);
    const forbidden = prohibition(wanted);
    if (forbidden !== undefined) return request.reply(failure(400, `Bad Request: bad webhook: ${forbidden}`));
    this.#settings = wanted;
    this.#afterSetup(request, () => request.reply(success(true, "Webhook was set")));
  }

  #afterSetup(request: ApiRequest, finish: () => void): void {
    const { clock, webhookSetupMs } = this.#context;
    if (webhookSetupMs === 0) return finish();
    const timer = clock.setTimer(() => {
      this.#pending = undefined;
      finish();
    }, webhookSetupMs);
    this.#pending = { request, timer };
  }
}

function settingsOf(args: Arguments): WebhookSettings | undefined {
  const url = args.get("url") ?? "";
  if (url === "") return undefined;
  return {
    url,
    // 40: the server's default_max_webhook_connections; 1..100 as in Client.cpp get_webhook_max_connections.
    maxConnections: Math.min(Math.max(integerArgument(args, "max_connections", 40), 1), 100),
    ipAddress: args.get("ip_address") ?? "",
    secretToken: args.get("secret_token") ?? "",
  };
}

function isSame(wanted: WebhookSettings | undefined, present: WebhookSettings | undefined): boolean {
  return JSON.stringify(wanted) === JSON.stringify(present);
}

/** `[protocol://][userinfo@]host[:port][/path]`; https where nothing is said. td/utils/HttpUrl.cpp parse_url:45. */
function parseUrl(url: string): { readonly isHttps: boolean; readonly port: number } | undefined {
  const [, protocol = "https", authority = ""] = /^(?:([^:/?#@[\]]*):\/\/)?([^/?#]*)/.exec(url) ?? [];
  const isHttps = protocol.toLowerCase() === "https";
  if (!isHttps && protocol.toLowerCase() !== "http") return undefined;
  const [, host, digits] =
    /^(?:.*@)?(\[[\da-fA-F:.]+\]|[^[\]:@\s"<>\\^`{|}]+)(?::(.*))?$/.exec(authority) ?? [];
  if (host === undefined || host === ".") return undefined;
  if (digits === undefined) return { isHttps, port: isHttps ? 443 : 80 };
  const port = /^\d+$/.test(digits) ? Number(digits) : 0;
  return port >= 1 && port <= 65_535 ? { isHttps, port } : undefined;
}

/** Why a webhook is refused before anything is changed. Client.cpp do_set_webhook:16013-16024. */
function malformation({ url, secretToken }: WebhookSettings): string | undefined {
  if (parseUrl(url) === undefined) return "invalid webhook URL specified";
  if (secretToken.length > limits.maxSecretTokenLength) return "secret token is too long";
  return /^[\w-]*$/.test(secretToken) ? undefined : "secret token contains unallowed characters";
}

/** Why a webhook that was begun is given up; names are not looked up here. WebhookActor.cpp start_up:705, check_ip_address:765. */
function prohibition({ url, ipAddress }: WebhookSettings): string | undefined {
  const parsed = parseUrl(url);
  if (parsed?.isHttps === false) return "An HTTPS URL must be provided for webhook";
  if (![443, 88, 80, 8443].includes(parsed?.port ?? 0)) {
    return "Webhook can be set up only on ports 80, 88, 443 or 8443";
  }
  if (ipAddress === "") return undefined;
  const version = isIP(ipAddress);
  if (version === 0) return "Invalid IP address specified";
  return version === 6 ? "IPv6-only addresses are not allowed" : undefined;
}
