/** Client.h UpdateType:1396, in its order. */
const updateTypes = [
  "message",
  "edited_message",
  "channel_post",
  "edited_channel_post",
  "inline_query",
  "chosen_inline_result",
  "callback_query",
  "custom_event",
  "custom_query",
  "shipping_query",
  "pre_checkout_query",
  "poll",
  "poll_answer",
  "my_chat_member",
  "chat_member",
  "chat_join_request",
  "chat_boost",
  "removed_chat_boost",
  "message_reaction",
  "message_reaction_count",
  "business_connection",
  "business_message",
  "edited_business_message",
  "deleted_business_messages",
  "purchased_paid_media",
  "managed_bot",
  "guest_message",
];

const knownTypes: ReadonlySet<string> = new Set(updateTypes);

const onlyOnRequest = ["chat_member", "message_reaction", "message_reaction_count"];

/** What a bot gets that never asked for anything: all types but three. Client.h:1456. */
export const defaultAllowedUpdates: ReadonlySet<string> = new Set(
  updateTypes.filter((type) => !onlyOnRequest.includes(type)),
);

const daySeconds = 86_400;

/** How long an update is kept from its arrival, in seconds, where it is no day. Client.cpp:17073-17268. */
const lifetimes = new Map([
  ["callback_query", 150],
  ["shipping_query", 150],
  ["pre_checkout_query", 150],
  ["inline_query", 30],
  ["chosen_inline_result", 600],
  ["custom_event", 600],
]);

/** The types that are kept for a day from their own date, wherever it stands in them. */
const datesOf = new Map<string, readonly string[]>([
  // Client.cpp need_skip_update_message:17447, add_message_update:17053.
  ...[
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_message",
    "edited_business_message",
    "guest_message",
  ].map((type) => [type, ["edit_date", "date"]] as const),
  // Client.cpp:17272-17340.
  ...["my_chat_member", "chat_member", "chat_join_request", "message_reaction", "message_reaction_count"].map(
    (type) => [type, ["date"]] as const,
  ),
  ["chat_boost", ["boost.add_date"]],
  ["removed_chat_boost", ["remove_date"]],
]);

/**
 * Until when an update that arrives now is kept, in seconds since 1970; undefined: it is too old to be kept at all. One
 * that should have a date and has none counts as made now.
 */
export function expiryOf(type: string, content: unknown, now: number): number | undefined {
  const date = (datesOf.get(type) ?? []).map((path) => fieldAt(content, path)).find(Number.isFinite);
  if (date === undefined) return now + (lifetimes.get(type) ?? daySeconds);
  const expiresAt = Number(date) + daySeconds;
  return expiresAt > now ? expiresAt : undefined;
}

function fieldAt(content: unknown, path: string): unknown {
  return path
    .split(".")
    .reduce<unknown>((value, name) => (value as Record<string, unknown> | null)?.[name], content);
}

/** The type of an update: its one field that is not the id. Throws on an update of no known type. */
export function updateTypeOf(update: object): string {
  const type = Object.keys(update).find((name) => name !== "update_id");
  if (type === undefined || !knownTypes.has(type)) {
    throw new TypeError(`Expected an update with one of the Bot API's update types, got ${type ?? "none"}`);
  }
  return type;
}

/**
 * The types that getWebhookInfo names: in the server's order, without those of its own; undefined for the default set.
 * Client.cpp JsonUpdateTypes:5925, JsonWebhookInfo:5974.
 */
export function shownAllowedUpdates(types: ReadonlySet<string>): readonly string[] | undefined {
  const isDefault =
    types.size === defaultAllowedUpdates.size && [...types].every((type) => defaultAllowedUpdates.has(type));
  return isDefault ? undefined : updateTypes.filter((type) => types.has(type) && !type.startsWith("custom_"));
}

/**
 * The types that an `allowed_updates` argument asks for; undefined: keep the present ones, as the server does for
 * anything but an array of strings. Unknown names are skipped; when none is left, the default set holds.
 * Client.cpp get_allowed_update_types:16889.
 */
export function parseAllowedUpdates(names: unknown): ReadonlySet<string> | undefined {
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) return undefined;
  const known = names.map((name) => name.toLowerCase()).filter((name) => knownTypes.has(name));
  return known.length === 0 ? defaultAllowedUpdates : new Set(known);
}

/** What `pushMessage` can be told. */
export interface MessageOptions {
  /** The private chat, and its user. @defaultValue 1 */
  readonly chatId?: number;
}

/** A text message. Its `message_id` is the update's id, so that replies tell what they answer. */
export function textMessage(updateId: number, text: string, options: MessageOptions, wallMs: number): object {
  const chatId = options.chatId ?? 1;
  const command = /^\/\w+/.exec(text)?.[0];
  return {
    message_id: updateId,
    from: { id: chatId, is_bot: false, first_name: "User" },
    chat: { id: chatId, type: "private", first_name: "User" },
    date: Math.floor(wallMs / 1_000),
    text,
    ...(command === undefined
      ? {}
      : { entities: [{ type: "bot_command", offset: 0, length: command.length }] }),
  };
}
