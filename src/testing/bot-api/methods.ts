import { jsonArgument } from "./arguments.js";
import type { Bot } from "./bot.js";
import { failure, success } from "./reply.js";
import type { ApiRequest } from "./request.js";

type Method = (bot: Bot, request: ApiRequest) => void;

/** Answers a call by one of the bot's methods. */
export function handleCall(bot: Bot, request: ApiRequest): void {
  if (bot.isLoggedOut) return request.reply(failure(400, "Logged out"));
  if (request.method === "close") return bot.close(request);
  bot.startSession();
  const method = methods.get(request.method);
  if (method === undefined) return request.reply(failure(404, "Not Found: method not found"));
  method(bot, request);
}

const answerTrue: Method = (_bot, request) => request.reply(success(true));

/** The methods that the emulator knows beside `close`, by their names in lower case. */
const methods = new Map<string, Method>(
  Object.entries({
    getupdates: (bot, request) => bot.getUpdates(request),
    setwebhook: (bot, request) => bot.webhook.change(request, bot),
    deletewebhook: (bot, request) => bot.webhook.change(request, bot),
    getwebhookinfo: (bot, request) => bot.webhook.info(request, bot),
    logout: (bot, request) => bot.logOut(request),
    getme: (bot, request) => request.reply(success(botUser(bot))),
    sendmessage: sendMessage,
    setmycommands(bot, request) {
      bot.commands = jsonArgument(request.args, "commands") ?? [];
      request.reply(success(true));
    },
    getmycommands: (bot, request) => request.reply(success(bot.commands)),
    deletemycommands(bot, request) {
      bot.commands = [];
      request.reply(success(true));
    },
    sendchataction: answerTrue,
    answercallbackquery: answerTrue,
  } satisfies Record<string, Method>),
);

function botUser(bot: Bot): object {
  return {
    id: bot.identity.id,
    is_bot: true,
    first_name: bot.identity.username,
    username: bot.identity.username,
    can_join_groups: true,
    can_read_all_group_messages: false,
    supports_inline_queries: false,
    can_connect_to_business: false,
    has_main_web_app: false,
  };
}

function sendMessage(bot: Bot, request: ApiRequest): void {
  const chatId = request.args.get("chat_id") ?? "";
  const text = request.args.get("text") ?? "";
  if (chatId === "") return request.reply(failure(400, "Bad Request: chat_id is empty"));
  if (text === "") return request.reply(failure(400, "Bad Request: message text is empty"));

  const messageId = bot.nextMessageId++;
  const updateId = answeredUpdate(bot, request);
  bot.statistics.sent(updateId);
  bot.record({
    type: "sent",
    ...request.identity,
    chatId,
    text,
    messageId,
    ...(updateId === undefined ? {} : { updateId }),
  });
  request.reply(
    success({
      message_id: messageId,
      from: botUser(bot),
      chat: chatOf(chatId),
      date: Math.floor(bot.clock.now().wallMs / 1_000),
      text,
    }),
  );
}

/**
 * The update that a message answers: the one whose message it replies to (pushed messages carry their update's id
 * as `message_id`), else the first number in its text that is the id of an update.
 */
function answeredUpdate(bot: Bot, request: ApiRequest): number | undefined {
  const reply = jsonArgument(request.args, "reply_parameters") as { message_id?: unknown } | null | undefined;
  const candidates = [
    reply?.message_id,
    request.args.get("reply_to_message_id"),
    ...(request.args.get("text")?.match(/\d+/g) ?? []),
  ];
  return candidates.map(Number).find((id) => bot.statistics.knows(id));
}

function chatOf(chatId: string): object {
  if (chatId.startsWith("@")) return { id: -1_000_000_000_000, type: "channel", username: chatId.slice(1) };
  const id = Number(chatId);
  return id < 0 ? { id, type: "group", title: "Group" } : { id, type: "private", first_name: "User" };
}
