import { createHash } from "node:crypto";
import type { ConnectContext, Holder } from "../backend.js";

/** Longer names are cut by the server: NAMEDATALEN - 1. */
const maxBytes = 63;

/**
 * The name under which a session is seen in `pg_stat_activity`, all that a table-less lock can tell about its
 * holder: `gsp1:<owner, 8>:<revision, 7>:<label>`. ASCII, since the server replaces everything else by `?`.
 */
export function applicationName(context: Pick<ConnectContext, "owner" | "instance" | "revision">): string {
  const revision = toAscii(context.revision ?? "")
    .replaceAll(":", "?")
    .slice(0, 7);
  return `${namePrefix(context.owner)}${revision}:${toAscii(context.instance)}`.slice(0, maxBytes);
}

/** What the name of a session of this owner begins with. */
export function namePrefix(owner: string): string {
  const uuids = owner.match(/[\da-f]{8}(?=-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12})/g);
  const short = uuids?.at(-1) ?? createHash("sha256").update(owner).digest("hex").slice(0, 8);
  return `gsp1:${short}:`;
}

/**
 * The holder behind a session's name; of its owner the name has a part, which is no owner. A name that is not
 * ours belongs to somebody who locked the key by hand.
 */
export function holderFromName(name: string): Holder {
  const parts = /^gsp1:[\da-f]{8}:([^:]*):(.*)$/.exec(name);
  if (!parts) return name === "" ? {} : { instance: name };
  const [, revision = "", instance = ""] = parts;
  return { instance, ...(revision !== "" && { revision }) };
}

function toAscii(text: string): string {
  return text.replace(/[^ -~]/g, "?");
}
