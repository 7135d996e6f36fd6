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
