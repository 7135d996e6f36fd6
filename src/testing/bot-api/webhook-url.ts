import { isIP } from "node:net";
import { limits } from "./limits.js";

interface WantedWebhook {
  readonly url: string;
  readonly ipAddress: string;
  readonly secretToken: string;
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
export function malformation({ url, secretToken }: WantedWebhook): string | undefined {
  if (parseUrl(url) === undefined) return "invalid webhook URL specified";
  if (secretToken.length > limits.maxSecretTokenLength) return "secret token is too long";
  return /^[\w-]*$/.test(secretToken) ? undefined : "secret token contains unallowed characters";
}

/** Why a webhook that was begun is given up; names are not looked up here. WebhookActor.cpp start_up:705, check_ip_address:765. */
export function prohibition({ url, ipAddress }: WantedWebhook): string | undefined {
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
