import { failure, type Reply } from "./reply.js";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/** A token as Telegram makes them: bot id, colon, 35 characters. */
export function makeToken(botId: number, random: () => number): string {
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
