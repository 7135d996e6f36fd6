const codes = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
} as const;

export type Colour = keyof typeof codes;

/** Wraps a text in the escape codes of a colour, or leaves it as it is. */
export type Paint = (colour: Colour | undefined, text: string) => string;

/** Colours on a terminal only; `FORCE_COLOR` and `NO_COLOR` say otherwise, the former first, as in Node itself. */
export function paintFor(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): Paint {
  return hasColours(stream, env) ? paint : (_colour, text) => text;
}

function hasColours(
  { isTTY = false }: { readonly isTTY?: boolean },
  { FORCE_COLOR, NO_COLOR, TERM }: Readonly<Record<string, string | undefined>>,
): boolean {
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== "0" && FORCE_COLOR !== "false";
  return isTTY && !NO_COLOR && TERM !== "dumb";
}

function paint(colour: Colour | undefined, text: string): string {
  if (colour === undefined || text === "") return text;
  const [on, off] = codes[colour];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}
