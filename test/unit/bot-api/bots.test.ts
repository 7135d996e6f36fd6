import { describe, expect, test } from "vitest";
import { virtualBotApi } from "./virtual-bot-api.js";

describe("tokens", () => {
  test("an unknown one is unauthorized", () => {
    const { call } = virtualBotApi();
    expect(call("a", "getMe", {}, `1:${"a".repeat(35)}`).body).toBe(
      '{"ok":false,"error_code":401,"description":"Unauthorized"}',
    );
  });

  // ClientManager.cpp send:73-85: 1 << 54 is 18014398509481984.
  test.each(["", "123", "0:abc", "-5:abc", "18014398509481984:abc", `123:${"a".repeat(80)}`])(
    "%j is no token at all",
    (token) => {
      const own = virtualBotApi().call("a", "getMe", {}, token);
      expect(own).toMatchObject({ status: 401, description: "Unauthorized: invalid token specified" });
      const hosted = virtualBotApi({ malformedToken: 404 }).call("a", "getMe", {}, token);
      expect(hosted).toMatchObject({ status: 404, description: "Not Found" });
    },
  );

  // ClientManager.cpp send:78: no number is in the range of ids that a server takes, so another one might.
  test.each(["abc:def", ":abc", "12x:abc", `${"9".repeat(20)}:abc`])("%j is misdirected: 421", (token) => {
    const answer = virtualBotApi().call("a", "getMe", {}, token);
    expect(answer.body).toBe(
      '{"ok":false,"error_code":421,"description":"Misdirected Request: unallowed token specified"}',
    );
    expect(virtualBotApi({ malformedToken: 404 }).call("a", "getMe", {}, token).status).toBe(404);
  });

  test("a number of 17 digits below 1 << 54 is the id of some bot", () => {
    expect(virtualBotApi().call("a", "getMe", {}, "12345678901234567:abc").description).toBe("Unauthorized");
  });

  // Client.cpp start_up:7926 (bot_token_with_dc_), on_closed:9307-9318: both are stored under the token.
  test("a new token starts without webhook and allowed_updates, with the old queue", () => {
    const { api, botId, token, call, poll, pushMany } = virtualBotApi();
    const ids = pushMany(1);
    poll("a", { allowed_updates: '["message"]' });
    call("a", "setWebhook", { url: "https://example.com/hook" });

    const { token: newToken } = api.revoke(token);

    expect(call("a", "getWebhookInfo", {}, newToken).result).toEqual({
      url: "",
      has_custom_certificate: false,
      pending_update_count: 1,
    });
    expect(api.state(botId).allowedUpdates).toContain("callback_query");
    expect(call("a", "getUpdates", {}, newToken).updateIds).toEqual(ids);
  });

  test("a setWebhook that waits when the token is revoked is unauthorized", () => {
    const { api, token, clock, call } = virtualBotApi({ webhookSetupMs: 100 });
    const waiting = call("a", "setWebhook", { url: "https://example.com/hook" });
    api.revoke(token);
    expect(waiting).toMatchObject({ status: 401, description: "Unauthorized" });
    expect(clock.runningTimers).toBe(0);
  });

  // ClientManager.cpp send:87, get_tqueue_id:313: another client under another key, with another queue.
  test("the test environment has bots of its own", () => {
    const { api, botId, token, call, pushMany } = virtualBotApi();
    const { id, token: testToken } = api.addBot({ token: "77:abc", isTest: true });
    pushMany(1);
    const pushed = api.pushMessage(id, "hi");

    expect(call("a", "getMe", {}, `${token}/test`).status).toBe(401);
    expect(call("a", "getMe", {}, testToken).status).toBe(401);
    expect(call("a", "getMe", {}, "0:abc/test").description).toBe("Unauthorized: invalid token specified");
    expect(call("a", "getUpdates", {}, `${testToken}/test`).updateIds).toEqual([pushed]);
    expect(api.state(botId).pending).toBe(1);
    expect(call("a", "getMe", {}, `${api.revoke(id).token}/test`).status).toBe(200);
  });

  test("a revoked one is unauthorized, its poll ends, and the new one has the old updates", () => {
    const { api, token, clock, call, poll, pushMany } = virtualBotApi();
    const waiting = poll("a", { timeout: 30 });
    const { token: newToken } = api.revoke(token);

    expect(waiting).toMatchObject({ status: 200, result: [] });
    expect(poll("a", { offset: 1 })).toMatchObject({ status: 401, description: "Unauthorized" });
    const next = call("a", "getUpdates", { timeout: 30 }, newToken);
    expect(() => pushMany(1)).toThrow(TypeError);
    const id = api.pushMessage(newToken, "hi");
    clock.advance(1);
    expect(next.updateIds).toEqual([id]);
  });

  test("many bots live on one server, each with its own updates", () => {
    const { api, botId, token, poll, pushMany, call } = virtualBotApi();
    const other = api.addBot({ token: `42:${"b".repeat(35)}`, username: "other_bot" });
    const ids = pushMany(2);

    expect(call("a", "getUpdates", {}, other.token).updateIds).toEqual([]);
    expect(poll("a").updateIds).toEqual(ids);
    expect(api.bots).toEqual([{ id: botId, username: `bot_${botId}_bot`, token }, other]);
    expect(api.counters(botId).pushed).toBe(2);
    expect(api.counters(other.token)).toMatchObject({ pushed: 0, polls: 1 });
    expect(api.counters()).toMatchObject({ pushed: 2, polls: 2 });
    expect(() => api.addBot({ token: `42:${"c".repeat(35)}` })).toThrow(TypeError);
  });
});

describe("methods", () => {
  test("getMe tells who the bot is; upper and lower case are the same", () => {
    const { botId, call } = virtualBotApi();
    expect(call("a", "GETme").result).toMatchObject({
      id: botId,
      is_bot: true,
      username: `bot_${botId}_bot`,
    });
  });

  test.each(["getNothing", "__proto__", "constructor", "toString", ""])("%j is not found", (method) => {
    expect(virtualBotApi().call("a", method).body).toBe(
      '{"ok":false,"error_code":404,"description":"Not Found: method not found"}',
    );
  });

  test("setMyCommands is remembered", () => {
    const { call } = virtualBotApi();
    const commands = [{ command: "start", description: "begins" }];
    expect(call("a", "setMyCommands", { commands: JSON.stringify(commands) }).result).toBe(true);
    expect(call("a", "getMyCommands").result).toEqual(commands);
    call("a", "deleteMyCommands");
    expect(call("a", "getMyCommands").result).toEqual([]);
  });

  test("sendMessage answers with the message and is recorded", () => {
    const { api, botId, call, clock } = virtualBotApi();
    const updateId = api.pushMessage(botId, "ping", { chatId: 77 })!;
    clock.advance(5);

    const answer = call("a", "sendMessage", { chat_id: 77, text: `answer to ${updateId}` });

    const sent = {
      type: "sent",
      botId,
      instance: "a",
      chatId: "77",
      text: `answer to ${updateId}`,
      updateId,
      at: 5,
    };
    expect(api.events.find((event) => event.type === "sent")).toMatchObject(sent);
    expect(answer.result).toMatchObject({
      message_id: 1,
      from: { id: botId, is_bot: true },
      chat: { id: 77, type: "private" },
      date: Date.UTC(2026, 0, 1) / 1_000,
      text: `answer to ${updateId}`,
    });
  });

  test("a message answers the update that it replies to, or names in its text", () => {
    const { api, botId, call } = virtualBotApi();
    const [first, second] = [api.pushMessage(botId, "one")!, api.pushMessage(botId, "two")!];
    const send = (args: Record<string, string>) =>
      call("a", "sendMessage", { chat_id: 1, text: "hi 12", ...args });
    send({ reply_parameters: `{"message_id":${first}}` });
    send({ reply_to_message_id: String(second) });
    send({ text: `12 done ${second}` });
    send({});

    const answered = api.events.flatMap((event) => (event.type === "sent" ? [event.updateId] : []));
    expect(answered).toEqual([first, second, second, undefined]);
    expect(api.counters()).toMatchObject({ sent: 4, answered: 2, repeatedAnswers: 1 });
  });

  const keyboard = { inline_keyboard: [[{ text: "Yes", callback_data: "yes" }]] };

  test("buttons are recorded, and shown where they belong to the message", () => {
    const { api, call } = virtualBotApi();
    const reply_markup = JSON.stringify(keyboard);
    const answer = call("a", "sendMessage", { chat_id: 1, text: "hi", reply_markup });
    expect(answer.result).toMatchObject({ reply_markup: keyboard });
    expect(api.events).toContainEqual(expect.objectContaining({ type: "sent", replyMarkup: keyboard }));

    const below = call("a", "sendMessage", { chat_id: 1, text: "hi", reply_markup: '{"keyboard":[]}' });
    expect(below.result).not.toHaveProperty("reply_markup");
    expect(api.events).toContainEqual(
      expect.objectContaining({ type: "sent", replyMarkup: { keyboard: [] } }),
    );
  });

  test("an edited message is answered and recorded", () => {
    const { api, call } = virtualBotApi();
    const text = call("a", "editMessageText", { chat_id: 7, message_id: 3, text: "new" });
    expect(text.result).toMatchObject({
      message_id: 3,
      chat: { id: 7 },
      text: "new",
      edit_date: expect.any(Number),
    });
    const reply_markup = JSON.stringify(keyboard);
    const buttons = call("a", "editMessageReplyMarkup", { chat_id: 7, message_id: 3, reply_markup });
    expect(buttons.result).toMatchObject({ reply_markup: keyboard });
    expect(call("a", "editMessageCaption", { inline_message_id: "x", caption: "c" }).result).toBe(true);

    const edited = api.events.filter((event) => event.type === "edited");
    expect(edited).toMatchObject([
      { chatId: "7", messageId: 3, text: "new", instance: "a" },
      { chatId: "7", messageId: 3, replyMarkup: keyboard },
      { chatId: "", messageId: "x", text: "c" },
    ]);
    expect(edited[1]).not.toHaveProperty("text");
    expect(api.counters().sent).toBe(0);
  });

  test.each([
    ["editMessageText", { text: "hi" }, "chat_id is empty"],
    ["editMessageText", { chat_id: 1, text: "hi" }, "message identifier is not specified"],
    ["editMessageText", { chat_id: 1, message_id: 1 }, "message text is empty"],
    ["sendPhoto", {}, "chat_id is empty"],
    ["copyMessage", {}, "chat_id is empty"],
    ["getChat", {}, "chat_id is empty"],
  ])("%s with %j: %s", (method, args, reason) => {
    expect(virtualBotApi().call("a", method, args)).toMatchObject({
      status: 400,
      description: `Bad Request: ${reason}`,
    });
  });

  test("files, copies and forwards count as messages that were sent", () => {
    const { api, botId, call } = virtualBotApi();
    const updateId = api.pushMessage(botId, "hi")!;
    const photo = call("a", "sendPhoto", { chat_id: 1, photo: "id", caption: `for ${updateId}` });
    expect(photo.result).toMatchObject({ message_id: 1, photo: [{}], caption: `for ${updateId}` });
    expect(call("a", "copyMessage", { chat_id: 1, from_chat_id: 2, message_id: 3 }).result).toEqual({
      message_id: 2,
    });
    const forwarded = call("a", "forwardMessage", { chat_id: 1, from_chat_id: 2, message_id: 3 });
    expect(forwarded.result).toMatchObject({ message_id: 3, forward_origin: {} });
    expect(api.counters()).toMatchObject({ sent: 3, answered: 1 });
  });

  test.each([
    "deleteMessage",
    "answerInlineQuery",
    "answerCallbackQuery",
    "answerShippingQuery",
    "answerPreCheckoutQuery",
    "setMessageReaction",
    "sendChatAction",
  ])("%s is done", (method) => {
    expect(virtualBotApi().call("a", method).result).toBe(true);
  });

  test("getChat tells of a chat", () => {
    expect(virtualBotApi().call("a", "getChat", { chat_id: -5 }).result).toMatchObject({
      id: -5,
      type: "group",
    });
  });

  test("sendMessage wants a chat and a text", () => {
    const { api, call } = virtualBotApi();
    expect(call("a", "sendMessage", { text: "hi" }).description).toBe("Bad Request: chat_id is empty");
    expect(call("a", "sendMessage", { chat_id: 1 }).description).toBe("Bad Request: message text is empty");
    expect(api.counters().sent).toBe(0);
  });

  test("a pushed command is marked as one", () => {
    const { api, botId, poll } = virtualBotApi();
    const id = api.pushMessage(botId, "/start now", { chatId: 9 });
    const [update] = poll("a").result as { message: object }[];
    expect(update?.message).toMatchObject({
      message_id: id,
      chat: { id: 9, type: "private" },
      entities: [{ type: "bot_command", offset: 0, length: 6 }],
    });
  });
});

describe("close and logOut", () => {
  // Client.cpp on_cmd:12642-12644: the seconds are cut off, and a client from the server's first ten minutes is exempt.
  test("close is refused for ten minutes from a bot's first call, if the server was up for ten minutes by then", () => {
    const { clock, call } = virtualBotApi();
    call("a", "getMe");
    clock.advance(1_500);
    expect(call("a", "close").result).toBe(true);

    clock.advance(600_000);
    call("a", "getMe");
    clock.advance(1_500);
    expect(call("a", "close")).toMatchObject({ status: 429, retryAfter: 598 });
    clock.advance(597_500);
    expect(call("a", "close")).toMatchObject({ status: 429, retryAfter: 1 });
    clock.advance(1);
    expect(call("a", "close").result).toBe(true);
  });

  test("close answers the waiting poll, forgets the rules' state and keeps the updates", () => {
    const { clock, call, poll, pushMany } = virtualBotApi({ closeUptimeMs: 0 });
    const ids = pushMany(1);
    poll("a", { offset: ids[0]! + 1 });
    const waiting = poll("a", { offset: ids[0]! + 2, timeout: 30 });
    pushMany(1);

    expect(call("a", "close").result).toBe(true);

    expect(waiting).toMatchObject({ status: 200, result: [] });
    expect(call("a", "close")).toMatchObject({
      status: 400,
      description: "Bad Request: the bot has already been closed",
    });
    pushMany(1);
    expect(poll("a", { offset: ids[0]! + 2 }).updateIds).toEqual([ids[0]! + 2]);
    clock.advance(1);
    expect(call("a", "close").result).toBe(true);
    expect(poll("a", { offset: ids[0]! + 2 }).updateIds, "not limited by the repeat rule").toHaveLength(1);
  });

  // Client.cpp finish_closing:9335: authorization_date_ < now - 1800 ? 1.0 : 1800.0
  test.each([
    [1_800_000, 1_800_000],
    [1_800_001, 1_000],
  ])("%d ms after the login, logOut refuses everything for %d ms", (upMs, refusedMs) => {
    const { clock, call } = virtualBotApi();
    call("a", "getMe");
    clock.advance(upMs);
    call("a", "logOut");
    clock.advance(refusedMs - 1);
    expect(call("a", "getMe").description).toBe("Logged out");
    clock.advance(1);
    expect(call("a", "getMe").status).toBe(200);
  });

  // Client.cpp on_closed:9307-9318: the directory with all options is removed.
  test("logOut forgets allowed_updates", () => {
    const { api, botId, call, poll } = virtualBotApi();
    poll("a", { allowed_updates: '["message"]' });
    call("a", "logOut");
    expect(api.state(botId).allowedUpdates).toContain("callback_query");
  });

  test("logOut empties the queue and refuses everything for a while", () => {
    const { api, botId, clock, call, poll, pushMany } = virtualBotApi({ loggedOutMs: 60_000 });
    call("a", "setWebhook", { url: "https://example.com/hook" });
    pushMany(2);
    expect(call("a", "logOut").result).toBe(true);

    expect(poll("a")).toMatchObject({ status: 400, description: "Logged out" });
    expect(call("a", "getMe")).toMatchObject({ status: 400, description: "Logged out" });
    clock.advance(60_000);
    expect(poll("a")).toMatchObject({ status: 200, result: [] });
    expect(api.state(botId)).toMatchObject({ pending: 0, isWebhookActive: false });
  });
});

// ClientManager.cpp send:98-132, timeout_expired:565-568; td/utils/FloodControlFast.h.
describe("starts of clients", () => {
  const startMany = (count: number, limitStarts: boolean, address?: string) => {
    const virtual = virtualBotApi({ limitStarts });
    const start = (token: string) => {
      let status: unknown;
      let retryAfter: unknown;
      const call = { token, method: "getMe", args: new Map(), instance: "a", ...(address && { address }) };
      virtual.api.call(call, (answer) => {
        if (answer !== "reset") ({ status, retryAfter } = answer);
      });
      return { status, retryAfter };
    };
    const tokens = Array.from({ length: count }, () => virtual.api.addBot().token);
    return { ...virtual, start, tokens, answers: tokens.map(start) };
  };

  test.each([
    ["from one address: 20 a minute", 20, "10.0.0.1", 4],
    ["in all: 1000 a minute", 1_000, undefined, 1],
  ])("are limited %s", (_name, most, address, retryAfter) => {
    const { answers, clock, start, tokens } = startMany(most + 2, true, address);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(most);
    expect(answers.at(-1)).toEqual({ status: 429, retryAfter });
    expect(start(tokens[0]!), "known already").toMatchObject({ status: 200 });
    clock.advance(retryAfter * 1_000);
    expect(start(tokens[most]!)).toMatchObject({ status: 200 });
  });

  test("meet no limit where none is asked for", () => {
    expect(startMany(1_002, false, "10.0.0.1").answers.every(({ status }) => status === 200)).toBe(true);
  });

  test("count anew after the server has come back", () => {
    const { api, start, tokens } = startMany(20, true, "10.0.0.1");
    api.shutDown();
    api.restart();
    expect(start(tokens[0]!)).toMatchObject({ status: 429 });
  });
});

describe("the end of the server", () => {
  test("waiting polls are answered, new calls get a 429, and all updates are there afterwards", () => {
    const { api, call, poll, pushMany } = virtualBotApi();
    const waiting = poll("a", { timeout: 30 });
    pushMany(1);
    api.shutDown();

    expect(waiting.updateIds).toHaveLength(1);
    expect(call("a", "getMe")).toMatchObject({ status: 429, retryAfter: 5 });
    api.restart();
    expect(poll("a", { offset: 0 }).updateIds).toHaveLength(1);
  });

  test("dispose leaves no timer", () => {
    const { api, clock, call, poll } = virtualBotApi({ webhookSetupMs: 100 });
    poll("a", { timeout: 30 });
    poll("b", { timeout: 30 });
    poll("c", { timeout: 30 });
    api.injectFault({ kind: "hold", delayMs: 50 });
    call("a", "getMe");
    expect(clock.runningTimers).toBeGreaterThan(2);
    api.dispose();
    expect(clock.runningTimers).toBe(0);
  });
});
