import { jsonArgument } from "./arguments.js";
import type { Bot } from "./bot.js";
import { botUser, chatOf, editMessage, sendCopy, sendFile, sendMessage } from "./messages.js";
import { failure, loggedOut, success } from "./reply.js";
import type { ApiRequest } from "./request.js";

type Method = (bot: Bot, request: ApiRequest) => void;

/** Answers a call by one of the bot's methods. */
export function handleCall(bot: Bot, request: ApiRequest): void {
  if (bot.isLoggedOut) return request.reply(loggedOut);
  if (request.method === "close") return bot.close(request);
  bot.startSession();
  const method = methods.get(request.method);
  if (method === undefined) return request.reply(failure(404, "Not Found: method not found"));
  method(bot, request);
}

const answerTrue: Method = (_bot, request) => request.reply(success(true));

const knownMethods: Readonly<Record<string, Method>> = {
  getupdates: (bot, request) => bot.getUpdates(request),
  setwebhook: (bot, request) => bot.webhook.change(request, bot),
  deletewebhook: (bot, request) => bot.webhook.change(request, bot),
  getwebhookinfo: (bot, request) => bot.webhook.info(request, bot),
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

/** The methods that the emulator knows beside `close`, by their names in lower case. */
const methods: ReadonlyMap<string, Method> = new Map(Object.entries(knownMethods));
