/** How a text holds the token of our bot: the very token, or another one of the same bot (revoked, mistyped). */
export type TokenUse = "same" | "other";

/** What a configuration value holds of our bot's token; all that is ever kept of the value. */
export function tokenUse(value: string, token: string): TokenUse | undefined {
  const botId = /^\d+(?=:)/.exec(token)?.[0];
  if (botId === undefined) return undefined;
  const found: readonly string[] = value.match(new RegExp(`(?<!\\d)${botId}:[\\w-]+`, "g")) ?? [];
  if (found.includes(token)) return "same";
  return found.length > 0 ? "other" : undefined;
}

/** The stronger of several uses: a token that works counts most. */
export function strongest(uses: readonly (TokenUse | undefined)[]): TokenUse | undefined {
  if (uses.includes("same")) return "same";
  return uses.includes("other") ? "other" : undefined;
}
