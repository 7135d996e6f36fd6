import { jsonArgument } from "./arguments.js";
import type { Bot } from "./bot.js";
import { failure, loggedOut, success } from "./reply.js";
import type { ApiRequest } from "./request.js";

type Method = (bot: Bot, request: ApiRequest) => void;

/** Answers a call by one of the bot's methods. */
export function handleCall(bot: Bot, request: ApiRequest): void {
  if (bot.isLoggedOut) return request.reply(loggedOut);
  if (request.method === "close") return bot.close(request);
  bot.startSession();
  const method = Object.hasOwn(methods, request.method) ? methods[request.method] : undefined;
  if (method === undefined) return request.reply(failure(404, "Not Found: method not found"));
  method(bot, request);
}

const answerTrue: Method = (_bot, request) => request.reply(success(true));

/** By their names in lower case; `close` is not among them. */
const methods: Readonly<Record<string, Method>> = {
  getupdates: (bot, request) => bot.getUpdates(request),
  setwebhook: (bot, request) => bot.webhook.change(request),
  deletewebhook: (bot, request) => bot.webhook.change(request),
  getwebhookinfo: (bot, request) => bot.webhook.info(request),
  logout: (bot, request) => bot.logOut(request),
  getme: (bot, request) => request.reply(success(botUser(bot))),
  setmycommands(bot, request) {
    bot.commands = jsonArgument(request.args, "commands") ?? [];
    request.reply(success(true));
  },
  getmycommands: (bot, request) => request.reply(success(bot.commands)),
  deletemycommands(bot, request) {
    bot.commands = [];
    request.reply(success(true));
  },
  getchat(_bot, request) {
    const chatId = request.args.get("chat_id") ?? "";
    if (chatId === "") return request.reply(failure(400, "Bad Request: chat_id is empty"));
    request.reply(success({ ...chatOf(chatId), accent_color_id: 0, max_reaction_count: 11 }));
  },
  sendmessage: sendMessage,
  sendphoto: sendFile("photo"),
  senddocument: sendFile("document"),
  sendvideo: sendFile("video"),
  sendanimation: sendFile("animation"),
  sendaudio: sendFile("audio"),
  sendvoice: sendFile("voice"),
  copymessage: sendCopy(({ message_id }) => ({ message_id })),
  forwardmessage: sendCopy((message) => ({
    ...message,
    forward_origin: { type: "hidden_user", sender_user_name: "User", date: message.date },
    text: "",
  })),
  editmessagetext: editMessage("text"),
  editmessagecaption: editMessage("caption"),
  editmessagereplymarkup: editMessage(undefined),
  deletemessage: answerTrue,
  sendchataction: answerTrue,
  setmessagereaction: answerTrue,
  answercallbackquery: answerTrue,
  answerinlinequery: answerTrue,
  answershippingquery: answerTrue,
  answerprecheckoutquery: answerTrue,
};

interface Message {
  readonly message_id: number;
  readonly date: number;
  readonly [field: string]: unknown;
}

function sendMessage(bot: Bot, request: ApiRequest): void {
  const text = request.args.get("text") ?? "";
  if (hasNoChat(request)) return;
  if (text === "") return request.reply(failure(400, "Bad Request: message text is empty"));
  request.reply(success(send(bot, request, text, { text })));
}

/** A method that sends a file; of the message there is the caption, and no byte of the file is kept. */
function sendFile(kind: string): Method {
  return (bot, request) => {
    if (hasNoChat(request)) return;
    const caption = request.args.get("caption");
    const file = { file_id: "file", file_unique_id: "file", width: 1, height: 1, duration: 0 };
    const content = { [kind]: kind === "photo" ? [file] : file, caption };
    request.reply(success(send(bot, request, caption ?? "", content)));
  };
}

/** A method that sends what is there already: the emulator keeps no messages, so it knows only that it was done. */
function sendCopy(resultOf: (message: Message) => object): Method {
  return (bot, request) => {
    if (hasNoChat(request)) return;
    request.reply(success(resultOf(send(bot, request, "", {}))));
  };
}

/** A method that changes a message, which counts as there. */
function editMessage(textArgument: "text" | "caption" | undefined): Method {
  return (bot, request) => {
    const { args } = request;
    const inlineId = args.get("inline_message_id");
    if (inlineId === undefined && hasNoChat(request)) return;
    const messageId = inlineId ?? Number(args.get("message_id") ?? 0);
    if (messageId === 0 || messageId === "") {
      return request.reply(failure(400, "Bad Request: message identifier is not specified"));
    }
    const text = textArgument && args.get(textArgument);
    if (textArgument === "text" && !text) {
      return request.reply(failure(400, "Bad Request: message text is empty"));
    }
    const chatId = args.get("chat_id") ?? "";
    const replyMarkup = jsonArgument(args, "reply_markup");
    bot.record({
      type: "edited",
      ...request.identity,
      chatId,
      messageId,
      ...(text !== undefined && { text }),
      ...(replyMarkup !== undefined && { replyMarkup }),
    });
    if (inlineId !== undefined) return request.reply(success(true));
    const content = textArgument && { [textArgument]: text };
    request.reply(
      success({ ...messageOf(bot, request, Number(messageId), content ?? {}), edit_date: unixTime(bot) }),
    );
  };
}

function botUser(bot: Bot): object {
  return {
    id: bot.account.id,
    is_bot: true,
    first_name: bot.account.username,
    username: bot.account.username,
    can_join_groups: true,
    can_read_all_group_messages: false,
    supports_inline_queries: false,
    can_connect_to_business: false,
    has_main_web_app: false,
  };
}

function chatOf(chatId: string): object {
  if (chatId.startsWith("@")) return { id: -1_000_000_000_000, type: "channel", username: chatId.slice(1) };
  const id = Number(chatId);
  return id < 0 ? { id, type: "group", title: "Group" } : { id, type: "private", first_name: "User" };
}

/** Refuses a call that names no chat. */
function hasNoChat(request: ApiRequest): boolean {
  if (request.args.get("chat_id")) return false;
  request.reply(failure(400, "Bad Request: chat_id is empty"));
  return true;
}

/** Counts and records a message of the bot. */
function send(bot: Bot, request: ApiRequest, text: string, content: object): Message {
  const messageId = bot.nextMessageId++;
  const updateId = answeredUpdate(bot, request);
  const replyMarkup = jsonArgument(request.args, "reply_markup");
  bot.statistics.sent(updateId);
  bot.record({
    type: "sent",
    ...request.identity,
    chatId: request.args.get("chat_id") ?? "",
    text,
    messageId,
    ...(replyMarkup !== undefined && { replyMarkup }),
    ...(updateId !== undefined && { updateId }),
  });
  return messageOf(bot, request, messageId, content);
}

function messageOf(bot: Bot, request: ApiRequest, messageId: number, content: object): Message {
  const replyMarkup = jsonArgument(request.args, "reply_markup") as
    | { inline_keyboard?: unknown }
    | null
    | undefined;
  return {
    message_id: messageId,
    from: botUser(bot),
    chat: chatOf(request.args.get("chat_id") ?? ""),
    date: unixTime(bot),
    ...content,
    // Of all keyboards, messages show only those that belong to them.
    ...(replyMarkup?.inline_keyboard !== undefined && { reply_markup: replyMarkup }),
  };
}

/**
 * The update that a message answers: the one whose message it replies to (pushed messages carry their update's id
 * as `message_id`), else the first number in its text or caption that is the id of an update.
 */
function answeredUpdate(bot: Bot, { args }: ApiRequest): number | undefined {
  const reply = jsonArgument(args, "reply_parameters") as { message_id?: unknown } | null | undefined;
  const candidates = [
    reply?.message_id,
    args.get("reply_to_message_id"),
    ...((args.get("text") ?? args.get("caption"))?.match(/\d+/g) ?? []),
  ];
  return candidates.map(Number).find((id) => bot.statistics.knows(id));
}

function unixTime(bot: Bot): number {
  return Math.floor(bot.clock.now().wallMs / 1_000);
}
