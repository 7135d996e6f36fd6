import { Bot, type BotEnvironment } from "./bot.js";
import type { Journal } from "./journal.js";
import { failure, type Reply } from "./reply.js";

/** A bot of the emulator. */
export interface BotAccount {
  readonly id: number;
  readonly username: string;
  /** The present one: `revoke` gives another. */
  readonly token: string;
}

/** A bot, by its id or its present token. */
export type BotReference = number | string;

export interface NewBot {
  /** Its part before the colon becomes the bot's id. @defaultValue random */
  readonly token?: string;
  /** @defaultValue made from the id */
  readonly username?: string;
}

interface Registered {
  readonly bot: Bot;
  account: BotAccount;
}

/** The bots of one server and their tokens. */
export class BotRegistry {
  readonly #environment: BotEnvironment;
  readonly #journal: Journal;
  readonly #random: () => number;
  readonly #byId = new Map<number, Registered>();
  readonly #byToken = new Map<string, Registered>();
  #nextId = 7_000_000_001;

  constructor(environment: BotEnvironment, journal: Journal, random: () => number) {
    this.#environment = environment;
    this.#journal = journal;
    this.#random = random;
  }

  get bots(): readonly Bot[] {
    return [...this.#byId.values()].map(({ bot }) => bot);
  }

  get accounts(): readonly BotAccount[] {
    return [...this.#byId.values()].map(({ account }) => account);
  }

  add({ token = makeToken(this.#nextId++, this.#random), username }: NewBot): BotAccount {
    const id = Number(token.split(":", 1)[0]);
    if (!Number.isSafeInteger(id) || id <= 0 || !token.includes(":")) {
      throw new TypeError("Expected `token` to be a bot id, a colon and a secret");
    }
    if (this.#byId.has(id)) throw new TypeError(`Expected a new bot, but bot ${id} is there already`);

    const identity = { id, username: username ?? `bot_${id}_bot` };
    const bot = new Bot(identity, this.#environment, (event) => this.#journal.record(id, event));
    const registered = { bot, account: { ...identity, token } };
    this.#byId.set(id, registered);
    this.#byToken.set(token, registered);
    return registered.account;
  }

  /** Replaces a bot's token. Its queue and settings stay: they belong to the bot, not to the token. */
  revoke(reference: BotReference): BotAccount {
    const registered = this.#find(reference);
    this.#byToken.delete(registered.account.token);
    registered.bot.endSession();
    const token = makeToken(registered.account.id, this.#random);
    this.#byToken.set(token, registered);
    registered.account = { ...registered.account, token };
    return registered.account;
  }

  byToken(token: string): Bot | undefined {
    return this.#byToken.get(token)?.bot;
  }

  get(reference: BotReference): Bot {
    return this.#find(reference).bot;
  }

  #find(reference: BotReference): Registered {
    const found = typeof reference === "number" ? this.#byId.get(reference) : this.#byToken.get(reference);
    if (found !== undefined) return found;
    throw new TypeError("Expected the id or the present token of a bot of this emulator");
  }
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/** A token as Telegram makes them: bot id, colon, 35 characters. */
function makeToken(botId: number, random: () => number): string {
  const secret = Array.from({ length: 33 }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");
  return `${botId}:AA${secret}`;
}

/**
 * The answer to a call whose token belongs to no bot. A malformed one is told so, by 401; the hosted service was
 * seen to say 404. ClientManager.cpp send:73-85, Client.cpp start_up:7912.
 */
export function unknownTokenReply(token: string, malformed: 401 | 404): Reply {
  const isMalformed = !/^[1-9]\d{0,15}:/.test(token) || token.length > 80 || token.includes("/");
  if (!isMalformed) return failure(401, "Unauthorized");
  return malformed === 404
    ? failure(404, "Not Found")
    : failure(401, "Unauthorized: invalid token specified");
}
