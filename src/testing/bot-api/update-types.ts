const secondMs = 1_000;

/** How long an update of each type is kept, in milliseconds. Client.cpp:17053-17355; a day where nothing else is said. */
const lifetimes: Readonly<Record<string, number>> = {
  callback_query: 150 * secondMs,
  shipping_query: 150 * secondMs,
  pre_checkout_query: 150 * secondMs,
  inline_query: 30 * secondMs,
  chosen_inline_result: 600 * secondMs,
};
const defaultLifetimeMs = 86_400 * secondMs;

const onlyOnRequest = ["chat_member", "message_reaction", "message_reaction_count"];

const updateTypes = [
  "message",
  "edited_message",
  "channel_post",
  "edited_channel_post",
  "business_connection",
  "business_message",
  "edited_business_message",
  "deleted_business_messages",
  "guest_message",
  "stopped_message_generation",
  "inline_query",
  "chosen_inline_result",
  "callback_query",
  "shipping_query",
  "pre_checkout_query",
  "purchased_paid_media",
  "poll",
  "poll_answer",
  "my_chat_member",
  "chat_join_request",
  "chat_boost",
  "removed_chat_boost",
  "managed_bot",
  "subscription",
  ...onlyOnRequest,
];

const knownTypes: ReadonlySet<string> = new Set(updateTypes);

/** What a bot gets that never asked for anything: all types but three. Client.h:1455. */
export const defaultAllowedUpdates: ReadonlySet<string> = new Set(
  updateTypes.filter((type) => !onlyOnRequest.includes(type)),
);

export function updateLifetimeMs(type: string): number {
  return lifetimes[type] ?? defaultLifetimeMs;
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
 * The types that an `allowed_updates` argument asks for; undefined: keep the present ones, as the server does for
 * anything but an array of strings. Unknown names are skipped; when none is left, the default set holds.
 * Client.cpp get_allowed_update_types:16889.
 */
export function parseAllowedUpdates(names: unknown): ReadonlySet<string> | undefined {
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) return undefined;
  const known = names.map((name) => name.toLowerCase()).filter((name) => knownTypes.has(name));
  return known.length === 0 ? defaultAllowedUpdates : new Set(known);
}

export function isDefaultAllowedUpdates(types: ReadonlySet<string>): boolean {
  return (
    types.size === defaultAllowedUpdates.size && [...types].every((type) => defaultAllowedUpdates.has(type))
  );
}

/** What `pushMessage` can be told. */
export interface MessageOptions {
  /** The private chat, and its user. @defaultValue 1 */
  readonly chatId?: number;
}

/** The content of an update with a text message. Its `message_id` is the update's id, so that replies tell what they answer. */
export function messageUpdate(
  updateId: number,
  text: string,
  options: MessageOptions,
  wallMs: number,
): object {
  const chatId = options.chatId ?? 1;
  const command = /^\/\w+/.exec(text)?.[0];
  return {
    message: {
      message_id: updateId,
      from: { id: chatId, is_bot: false, first_name: "User" },
      chat: { id: chatId, type: "private", first_name: "User" },
      date: Math.floor(wallMs / 1_000),
      text,
      ...(command === undefined
        ? {}
        : { entities: [{ type: "bot_command", offset: 0, length: command.length }] }),
    },
  };
}
