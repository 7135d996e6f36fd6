import type { BotApiEmulator } from "grammy-safe-polling/testing";
import type { InstanceState } from "../../test/tools/instance-states.js";
import type { Colour, Paint } from "./colours.js";
import { drawLanes, type Lane } from "./lanes.js";
import type { Screen } from "./screen.js";
import { count, wrap } from "./text.js";

const redrawMs = 100;
const progressMs = 2_000;
const rateWindowMs = 1_000;

export interface TimelineOptions {
  readonly api: BotApiEmulator;
  readonly screen: Screen;
  readonly paint: Paint;
  readonly legend: string;
}

/** What happens, line by line, and who polls right now. */
export class Timeline implements Disposable {
  readonly #options: TimelineOptions;
  readonly #startedAt = performance.now();
  readonly #lanes: Lane[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #stopListening: () => void;
  #answerTimes: number[] = [];
  #isOver = false;

  constructor(options: TimelineOptions) {
    this.#options = options;
    const { api, screen } = options;
    this.#stopListening = api.onEvent(({ type, at }) => {
      if (type === "sent") this.#answerTimes.push(at);
    });
    this.#timer = setInterval(() => this.#tick(), screen.isLive ? redrawMs : progressMs);
  }

  /** Adds a line about something that has happened. */
  say(text: string, colour?: Colour): void {
    if (this.#isOver) return;
    const { screen, paint } = this.#options;
    const time = this.#time();
    const lines = wrap(text, screen.isLive ? screen.columns - time.length : Number.POSITIVE_INFINITY);
    screen.print(
      ...lines.map((line, index) => `${index === 0 ? time : " ".repeat(time.length)}${paint(colour, line)}`),
    );
    if (screen.isLive) this.#draw();
  }

  /** Notes what an instance does from now on. */
  enter(name: string, state: InstanceState): void {
    const lane = this.#lanes.find((one) => one.name === name) ?? { name, changes: [] };
    if (lane.changes.length === 0) this.#lanes.push(lane);
    lane.changes.push({ at: this.#now(), state });
  }

  /** The whole of it as a picture. */
  picture(): string[] {
    const { screen, paint, legend } = this.#options;
    const lanes = drawLanes(this.#lanes, this.#now(), Math.min(screen.columns, 120) - 4, paint);
    return [...lanes, paint("dim", legend)].map((line) => `  ${line}`);
  }

  /** No further lines. */
  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#stopListening();
    this.#options.screen.close();
  }

  #tick(): void {
    if (this.#options.screen.isLive) this.#draw();
    else this.#options.screen.print(`${this.#time()}${this.#progress()}`);
  }

  #draw(): void {
    const { screen, paint } = this.#options;
    const progress = this.#progress().slice(0, screen.columns - 4);
    screen.draw(["", ...this.picture(), "", `  ${paint("bold", progress)}`]);
  }

  #progress(): string {
    const { api } = this.#options;
    const { pushed, answered, conflicts } = api.counters();
    const live409s = Object.values(conflicts).reduce((sum, { live }) => sum + live, 0);
    return (
      `${this.#pollers()} | ${this.#rate()} updates/s | ${pushed} pushed, ${answered} answered | ` +
      count(live409s, "conflict")
    );
  }

  #pollers(): string {
    const polling = this.#lanes.filter(({ changes }) => changes.at(-1)?.state === "polling");
    return polling.length === 0 ? "nobody polls" : `${polling.map(({ name }) => name).join(" and ")} polls`;
  }

  /** Updates answered in the last second. */
  #rate(): number {
    const since = performance.now() - rateWindowMs;
    this.#answerTimes = this.#answerTimes.filter((at) => at > since);
    return this.#answerTimes.length;
  }

  #time(): string {
    return `${(this.#now() / 1_000).toFixed(1).padStart(6)} s  `;
  }

  #now(): number {
    return performance.now() - this.#startedAt;
  }
}
