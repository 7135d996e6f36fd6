import { createHash } from "node:crypto";
import type { ConnectContext, Holder } from "../backend.js";

/**
 * A revision with the priority behind it: neither the name of a session nor the table of 1.0.0 has a place of its own for
 * that number, and 1.0.0 shows both as the revision.
 */
export function revisionAndPriority({
  revision = "",
  priority = 0,
}: Pick<ConnectContext, "revision" | "priority">): string {
  return priority === 0 && !revision.includes("~") ? revision : `${revision}~${priority}`;
}

export function readRevision(text: string): Pick<Holder, "revision" | "priority"> {
  const [, revision = "", number] = /^(.*?)(?:~(-?\d[\d.e+-]*))?$/s.exec(text) ?? [];
  const priority = Number(number);
  return { ...(revision !== "" && { revision }), ...(Number.isFinite(priority) && { priority }) };
}

/** Longer names are cut by the server: NAMEDATALEN - 1. */
const maxBytes = 63;

/**
 * The name under which a session is seen in `pg_stat_activity`, all that a table-less lock can tell about its
 * holder: `gsp1:<owner, 8>:<revision, 7, and priority>:<label>`. ASCII, since the server replaces everything else by `?`.
 */
export function applicationName(context: NameParts): string {
  const { owner, priority } = context;
  const short = toAscii(context.revision ?? "")
    .replaceAll(":", "?")
    .slice(0, 7);
  const revision = revisionAndPriority({ revision: short, ...(priority && { priority }) });
  return `${namePrefix(owner)}${revision}:${toAscii(context.instance)}`.slice(0, maxBytes);
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
  return { instance, ...readRevision(revision) };
}

type NameParts = Pick<ConnectContext, "owner" | "instance" | "revision" | "priority">;

function toAscii(text: string): string {
  return text.replace(/[^ -~]/g, "?");
}
