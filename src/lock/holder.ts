import type { ConnectContext, Holder } from "./backend.js";

/** What an owner writes of itself into the record of a key; left out is what is not known, or 0. */
export function holderOf({
  owner,
  instance,
  revision,
  priority,
}: Pick<ConnectContext, "owner" | "instance" | "revision" | "priority">): Holder {
  return { owner, instance, ...(revision !== undefined && { revision }), ...(priority && { priority }) };
}

const fields = {
  owner: "string",
  instance: "string",
  revision: "string",
  priority: "number",
  token: "number",
  since: "number",
  leaseMs: "number",
};

/** The fields that we know, of a record that another release of this library may have written. */
export function readHolder(record: object): Holder {
  const content = record as Readonly<Record<string, unknown>>;
  const known = Object.entries(fields).filter(([name, type]) => typeof content[name] === type);
  return Object.fromEntries(known.map(([name]) => [name, content[name]]));
}
