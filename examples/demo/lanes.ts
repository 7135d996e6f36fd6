import type { InstanceState, StateChange } from "../../test/tools/instance-states.js";
import type { Way } from "./arguments.js";
import type { Colour } from "./colours.js";

interface Symbol {
  readonly text: string;
  readonly colour: Colour;
  /** Shown at the moment only; afterwards there is nothing to see. */
  readonly isMoment?: true;
}

const symbols: Readonly<Record<InstanceState, Symbol>> = {
  starting: { text: "·", colour: "dim" },
  standby: { text: "░", colour: "yellow" },
  polling: { text: "█", colour: "green" },
  conflict: { text: "!", colour: "red" },
  draining: { text: "▒", colour: "green" },
  frozen: { text: "‖", colour: "yellow" },
  stopped: { text: "▪", colour: "dim", isMoment: true },
  crashed: { text: "x", colour: "red", isMoment: true },
  killed: { text: "X", colour: "red", isMoment: true },
};

export const legends: Readonly<Record<Way, string>> = {
  lock: "█ polls  ░ stands by  ▒ drains  · starts  ▪ ended  X SIGKILL",
  priority: "█ polls  ░ stands by  ▒ drains  · starts  ▪ ended  X SIGKILL",
  "no-lock": "█ polls  ! its poll is gone, it leaves the other the bot  ▒ drains  · starts  ▪ ended",
  plain: "█ polls  ! its poll is gone  x crashed  ▒ stops  · starts  ▪ ended  X SIGKILL",
};

/** What one instance did when. Times in milliseconds since the beginning. */
export interface Lane {
  readonly name: string;
  readonly changes: StateChange[];
}

const shortestCellMs = 250;

/** The lanes as bars of equal scale, `columns` wide at most. */
export function drawLanes(
  lanes: readonly Lane[],
  now: number,
  columns: number,
  paint: (colour: Colour | undefined, text: string) => string,
): string[] {
  const labelWidth = Math.max(...lanes.map(({ name }) => name.length)) + 2;
  const cells = Math.max(10, columns - labelWidth);
  const cellMs = shortestCellMs * Math.max(1, Math.ceil(now / shortestCellMs / cells));
  return lanes.map(({ name, changes }) => {
    const bar = Array.from({ length: Math.ceil(now / cellMs) }, (_, cell) => {
      const symbol = symbolIn(changes, cell * cellMs, (cell + 1) * cellMs);
      return symbol ? paint(symbol.colour, symbol.text) : " ";
    });
    return `${name.padEnd(labelWidth)}${bar.join("").trimEnd()}`;
  });
}

/** A moment that falls into the time stands for all of it; else what was so at its end. */
function symbolIn(changes: readonly StateChange[], from: number, until: number): Symbol | undefined {
  const inside = changes.filter(({ at }) => at >= from && at < until).map(({ state }) => symbols[state]);
  const moment = inside.findLast(({ isMoment }) => isMoment);
  if (moment) return moment;
  const last = changes.findLast(({ at }) => at < until);
  const symbol = last && symbols[last.state];
  return symbol?.isMoment ? undefined : symbol;
}
