import { Bot, type BotAccount, type BotEnvironment } from "./bot.js";
import type { Journal } from "./journal.js";
import { failure, type Reply, unauthorized } from "./reply.js";

/** A bot, by its id or its present token. */
export type BotReference = number | string;

export interface NewBot {
  /** Its part before the colon becomes the bot's id. @defaultValue random */
  readonly token?: string;
  /** @defaultValue made from the id */
  readonly username?: string;
  /** Whether it lives in Telegram's test environment, whose calls have `/test` behind the token. @defaultValue false */
  readonly isTest?: boolean;
}

export type BotRegistry = ReturnType<typeof createBotRegistry>;

/** The bots of one server and their tokens. */
export function createBotRegistry(environment: BotEnvironment, journal: Journal, random: () => number) {
  const byId = new Map<number, Bot>();
  const byToken = new Map<string, Bot>();
  let nextId = 7_000_000_001;

  function add({ token = makeToken(nextId++, random), username, isTest = false }: NewBot): BotAccount {
    const id = Number(token.split(":", 1)[0]);
    if (!Number.isSafeInteger(id) || id <= 0 || !token.includes(":")) {
      throw new TypeError("Expected `token` to be a bot id, a colon and a secret");
    }
    if (byId.has(id)) throw new TypeError(`Expected a new bot, but bot ${id} is there already`);

    const account = { id, username: username ?? `bot_${id}_bot`, token };
    const bot = new Bot(account, isTest, environment, (event) => journal.record(id, event));
    byId.set(id, bot);
    byToken.set(callToken(bot), bot);
    return account;
  }

  /**
   * Replaces a bot's token. Its queue stays, since it belongs to the bot; webhook and allowed_updates were stored under the
   * token. ClientManager.cpp get_tqueue_id:313, Client.cpp start_up:7927 (bot_token_with_dc_), on_closed:9307.
   */
  function revoke(reference: BotReference): BotAccount {
    const bot = get(reference);
    byToken.delete(callToken(bot));
    bot.endSession(unauthorized);
    bot.forgetSettings();
    bot.account = { ...bot.account, token: makeToken(bot.account.id, random) };
    byToken.set(callToken(bot), bot);
    return bot.account;
  }

  function get(reference: BotReference): Bot {
    const found = typeof reference === "number" ? byId.get(reference) : byToken.get(reference);
    if (found !== undefined) return found;
    throw new TypeError("Expected the id or the present token of a bot of this emulator");
  }

  return { bots: () => [...byId.values()], add, revoke, byToken: (token: string) => byToken.get(token), get };
}

/** A token as calls have it. ClientManager.cpp send:87. */
function callToken({ account, isTest }: Bot): string {
  return `${account.token}${isTest ? testSuffix : ""}`;
}

const testSuffix = "/test";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/** A token as Telegram makes them: bot id, colon, 35 characters. */
function makeToken(botId: number, random: () => number): string {
  const secret = Array.from({ length: 33 }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");
  return `${botId}:AA${secret}`;
}

/**
 * The answer to a call whose token belongs to no bot; the hosted service was seen to say 404 to one that is malformed.
 * ClientManager.cpp send:73-85, Client.cpp start_up:7912.
 */
export function unknownTokenReply(callToken: string, malformed: 401 | 404): Reply {
  const token = callToken.endsWith(testSuffix) ? callToken.slice(0, -testSuffix.length) : callToken;
  const refusal = tokenRefusal(token);
  if (refusal === undefined) return unauthorized;
  return malformed === 404 ? failure(404, "Not Found") : refusal;
}

function tokenRefusal(token: string): Reply | undefined {
  const invalid = failure(401, "Unauthorized: invalid token specified");
  const colon = token.indexOf(":");
  if (token.startsWith("0") || token.length > 80 || token.includes("/") || colon === -1) return invalid;
  const id = token.slice(0, colon);
  if (!/^-?[1-9]\d{0,18}$/.test(id)) return failure(421, "Misdirected Request: unallowed token specified");
  return BigInt(id) <= 0n || BigInt(id) >= 1n << 54n ? invalid : undefined;
}
