import type { Way } from "./arguments.js";
import type { Colour, Paint } from "./colours.js";
import type { Figures } from "./figures.js";
import { count } from "./text.js";

interface Row {
  readonly label: string;
  readonly value: string;
  readonly note: string;
  /** Whether the value is as it should be; undefined: there is no such thing. */
  readonly isGood?: boolean;
}

/** What must not be exceeded; without a lock it is what docs/409.md says. */
const lockLimits = { live409s: 0, twice: 0 };
const limitsOf: Readonly<Record<Way, typeof lockLimits>> = {
  lock: lockLimits,
  priority: lockLimits,
  plain: lockLimits,
  "no-lock": { live409s: 2, twice: 5 },
};

/** The promises that did not hold, in words. */
export function brokenPromises(figures: Figures, way: Way): string[] {
  const limits = limitsOf[way];
  const { lost, live409s, twicePlanned, crashes, ends } = figures;
  return [
    ...(lost > 0 ? [`${count(lost, "message")} lost`] : []),
    ...(live409s > limits.live409s ? [`${count(live409s, "live 409")}`] : []),
    ...(twicePlanned > limits.twice
      ? [`${count(twicePlanned, "message")} answered twice on the planned deploy`]
      : []),
    ...(crashes > 0 ? [`${count(crashes, "crash", "crashes")}`] : []),
    ...ends
      .filter(({ code }) => code !== 0)
      .map(({ name, code }) => `${name} ended with code ${code} on SIGTERM`),
  ];
}

/** The table, one line a row. */
export function drawTable(figures: Figures, way: Way, paint: Paint): string[] {
  const rows = rowsOf(figures, way);
  const labelWidth = Math.max(...rows.map(({ label }) => label.length));
  const valueWidth = Math.max(...rows.map(({ value }) => value.length));
  return rows.map(({ label, value, note, isGood }) => {
    const colour: Colour | undefined = isGood === undefined ? undefined : isGood ? "green" : "red";
    const padded = paint(colour, value.padStart(valueWidth));
    return `  ${label.padEnd(labelWidth)}  ${padded}  ${paint("dim", note)}`.trimEnd();
  });
}

/** From when to when it is measured. */
const asOnDeploys = {
  handover: "SIGTERM to 1 -> next poll of 2",
  takeover: "SIGKILL to 2 -> next poll of 3",
};
const measured: Readonly<Record<Way, typeof asOnDeploys>> = {
  lock: asOnDeploys,
  "no-lock": asOnDeploys,
  plain: asOnDeploys,
  priority: { handover: "version 1 drains -> next poll of 2", takeover: "SIGKILL to 2 -> next poll of 1" },
};

function rowsOf(figures: Figures, way: Way): Row[] {
  const limits = limitsOf[way];
  const { handover, takeover, ends, unconfirmedAtKill } = figures;
  const good = ends.filter(({ code }) => code === 0).length;
  return [
    { label: "pushed", value: `${figures.pushed}`, note: "messages" },
    { label: "answered", value: `${figures.answered}`, note: "" },
    limitRow("lost", figures.lost, 0, "never answered"),
    limitRow(
      "twice on the planned deploy",
      figures.twicePlanned,
      limits.twice,
      takeover ? "answered twice but for SIGKILL" : "answered by both",
    ),
    ...(takeover
      ? [
          {
            label: "twice after SIGKILL",
            value: `${figures.twiceAfterKill}`,
            note: `of ${unconfirmedAtKill} unconfirmed: those come again`,
          },
        ]
      : []),
    limitRow("409s (live)", figures.live409s, limits.live409s, "read by an instance"),
    limitRow("crashes", figures.crashes, 0, "without a signal"),
    { label: "handover", value: milliseconds(handover), note: measured[way].handover },
    ...(takeover ? [{ label: "takeover", value: milliseconds(takeover), note: measured[way].takeover }] : []),
    { label: "longest wait for an answer", value: `${Math.round(figures.longestAnswerMs)} ms`, note: "" },
    {
      label: "longest time without a poll",
      value: `${Math.round(figures.longestWithoutPollMs)} ms`,
      note: "nobody asked for updates",
    },
    {
      label: "code 0 on SIGTERM",
      value: `${good} of ${ends.length}`,
      note: ends.map(({ name }) => name).join(", "),
      isGood: good === ends.length,
    },
  ];
}

function limitRow(label: string, value: number, most: number, what: string): Row {
  const note = most === 0 ? what : `${what}; docs/409.md: at most ${most}`;
  return { label, value: `${value}`, note, isGood: value <= most };
}

function milliseconds({ from, until }: Figures["handover"]): string {
  return `${Math.max(0, Math.round(until - from))} ms`;
}

/** One sentence: what the figures mean. */
export function verdict(figures: Figures, way: Way): string {
  const { twicePlanned, twiceAfterKill, live409s, crashes, lost, longestAnswerMs } = figures;
  if (way === "plain") {
    return (
      `Plain grammY: ${count(live409s, "live 409")}, ${count(crashes, "crash", "crashes")}, ` +
      `${twicePlanned + twiceAfterKill} answered twice, ${lost} lost, ` +
      `up to ${(longestAnswerMs / 1_000).toFixed(1)} s without an answer.`
    );
  }
  const broken = brokenPromises(figures, way);
  if (broken.length > 0) return `Promise broken: ${broken.join("; ")}.`;
  if (way === "no-lock") {
    return (
      `Promises kept: every message was answered, ${twicePlanned} of them twice, ` +
      `with ${count(live409s, "live 409")}; a shared lock makes both 0.`
    );
  }
  return (
    `Promises kept: every message was answered; the planned ${way === "priority" ? "handover" : "deploy"} repeated none, ` +
    `the SIGKILL ${twiceAfterKill} (a crash may repeat what was fetched and not yet confirmed).`
  );
}
