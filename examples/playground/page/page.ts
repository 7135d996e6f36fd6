// The page of the playground. It decides nothing: what it shows is what the server tells of the emulator and of the
// processes, and a button is a command to the server.
import type {
  Batch,
  Change,
  Command,
  Counters,
  InstanceState,
  LaneName,
  LaneView,
  Line,
  LockView,
  Settings,
  Snapshot,
  StateChange,
  StoryOffer,
  StoryView,
} from "../protocol.js";

// ---------------------------------------------------------------------------------------------- what is known

interface Instance {
  readonly name: string;
  note: string;
  readonly changes: StateChange[];
}

interface Message {
  readonly number: number;
  readonly pushedAt: number;
  readonly answers: { readonly at: number; readonly instance: string }[];
  lostAt: number | undefined;
}

interface LaneModel {
  counters: Counters;
  isWebhookSet: boolean;
  readonly instances: Map<string, Instance>;
  readonly messages: Map<number, Message>;
}

/** Older things than this have left the widest timeline. */
const memoryMs = 40_000;
/** The picture lags so far behind the server that what it shows has arrived. */
const lagMs = 120;
const over: ReadonlySet<InstanceState> = new Set(["stopped", "crashed", "killed"]);
const laneNames: readonly LaneName[] = ["plain", "safe"];

const lanes = new Map<LaneName, LaneModel>();
let startedAt = 0;
let settings: Settings | undefined;
let isStoryPlaying = false;
/** The server's clock less ours. Its largest sample is the one that travelled fastest. */
let clockOffset = Number.NEGATIVE_INFINITY;

function learnClock(serverNow: number): void {
  const sample = serverNow - performance.now();
  // A little forgetting follows clocks that drift, and a machine that slept.
  clockOffset = Math.max(sample, clockOffset - 0.05);
  if (sample < clockOffset - 1_000) clockOffset = sample;
}

function pictureTime(): number {
  return performance.now() + clockOffset - lagMs;
}

function toModel(view: LaneView): LaneModel {
  return {
    counters: view.counters,
    isWebhookSet: view.isWebhookSet,
    instances: new Map(view.instances.map((one) => [one.name, { ...one, changes: [...one.changes] }])),
    messages: new Map(
      view.messages.map((one) => [one.number, { ...one, answers: [...one.answers], lostAt: one.lostAt }]),
    ),
  };
}

function takeSnapshot(snapshot: Snapshot): void {
  clockOffset = Number.NEGATIVE_INFINITY;
  learnClock(snapshot.now);
  startedAt = snapshot.startedAt;
  document.body.dataset.run = String(snapshot.run);
  for (const name of laneNames) lanes.set(name, toModel(snapshot.lanes[name]));
  fillPlatforms(snapshot.platforms);
  showLocks(snapshot.locks);
  showStories(snapshot.stories);
  showStory(snapshot.story);
  showSettings(snapshot.settings);
  log.replaceChildren();
  for (const name of laneNames) {
    const lane = lanes.get(name);
    if (!lane) continue;
    part(name, ".latest").replaceChildren();
    part(name, ".damage").classList.remove("any");
    part(name, ".damage ul").replaceChildren();
    damageCounts.delete(name);
    for (const message of lane.messages.values()) showDamage(name, message);
    showCounters(name, lane.counters);
    showRows(name);
  }
  for (const line of snapshot.lines) showLine(line);
  showToggles();
}

function takeBatch(batch: Batch): void {
  learnClock(batch.now);
  for (const change of batch.changes) takeChange(change);
}

function takeChange(change: Change): void {
  if (change.type === "line") return showLine(change.line);
  if (change.type === "settings") return showSettings(change.settings);
  if (change.type === "story") return showStory(change.story);
  if (change.type === "locks") {
    showLocks(change.locks);
    return showStories(change.stories);
  }
  const lane = lanes.get(change.lane);
  if (!lane) return;
  switch (change.type) {
    case "state": {
      const instance = lane.instances.get(change.name) ?? { name: change.name, note: "", changes: [] };
      lane.instances.set(change.name, instance);
      instance.note = change.note;
      instance.changes.push(change.change);
      showRows(change.lane);
      return showToggles();
    }
    case "pushed": {
      const { number, at: pushedAt } = change;
      lane.messages.set(number, { number, pushedAt, answers: [], lostAt: undefined });
      return;
    }
    case "answered": {
      const message = lane.messages.get(change.number);
      message?.answers.push({ at: change.at, instance: change.instance });
      if (message) showDamage(change.lane, message);
      return;
    }
    case "lost": {
      const message = lane.messages.get(change.number);
      if (message) message.lostAt = change.at;
      if (message) showDamage(change.lane, message);
      return;
    }
    case "counters":
      lane.counters = change.counters;
      return showCounters(change.lane, change.counters);
    case "webhook":
      lane.isWebhookSet = change.isSet;
      return showToggles();
  }
}

/** Forgets what has left the timeline. */
function forget(): void {
  const horizon = pictureTime() - memoryMs;
  for (const [name, { instances, messages }] of lanes) {
    for (const [number, { pushedAt, answers, lostAt }] of messages) {
      const isSettled = answers.length > 0 || lostAt !== undefined;
      if (isSettled && Math.max(pushedAt, answers.at(-1)?.at ?? 0) < horizon) messages.delete(number);
    }
    let hasLeft = false;
    for (const [key, { changes }] of instances) {
      while (changes.length > 1 && (changes[1]?.at ?? 0) < horizon) changes.shift();
      const last = changes.at(-1);
      if (!last || !over.has(last.state) || last.at > pictureTime() - windowMs(name)) continue;
      instances.delete(key);
      hasLeft = true;
    }
    if (hasLeft) showRows(name);
  }
}

// ---------------------------------------------------------------------------------------------- words

function element<T extends Element>(selector: string, from: ParentNode = document): T {
  const found = from.querySelector<T>(selector);
  if (!found) throw new Error(`no ${selector} in the page`);
  return found;
}

function part<T extends Element = HTMLElement>(lane: LaneName, selector: string): T {
  return element<T>(`.lane[data-lane="${lane}"] ${selector}`);
}

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

const stateWords: Readonly<Record<InstanceState, readonly [glyph: string, word: string]>> = {
  starting: ["◌", "starts"],
  standby: ["○", "stands by"],
  polling: ["●", "polls"],
  conflict: ["▲", "conflict"],
  draining: ["◐", "drains"],
  frozen: ["‖", "frozen"],
  stopped: ["■", "has ended"],
  crashed: ["✕", "crashed"],
  killed: ["✕", "killed"],
};

/** Telegram's row, then one for each instance. The canvas draws behind them. */
function showRows(name: LaneName): void {
  const lane = lanes.get(name);
  if (!lane) return;
  const rows = [...lane.instances.values()].map(({ name: label, note, changes }) => {
    const state = changes.at(-1)?.state ?? "starting";
    const [glyph, word] = stateWords[state];
    return make(
      "li",
      {},
      make("b", { textContent: label }),
      make(
        "span",
        { className: `state ${state}` },
        make("span", { ariaHidden: "true", textContent: `${glyph} ` }),
        word,
      ),
      make("span", { className: "note", textContent: note, title: note }),
    );
  });
  const telegram = make(
    "li",
    {},
    make("b", { textContent: "Telegram" }),
    make("span", { className: "state waiting", textContent: waitingText(lane.counters) }),
  );
  part(name, ".rows").replaceChildren(telegram, ...rows);
  drawingOf(name).resize(rows.length + 1);
}

function waitingText({ waiting }: Counters): string {
  return waiting === 1 ? "1 message waits" : `${waiting} messages wait`;
}

interface CounterCell {
  readonly box: HTMLElement;
  readonly label: HTMLElement;
  readonly value: HTMLElement;
}
const counterNames = ["pushed", "answered", "twice", "lost", "conflicts", "crashes", "switch"] as const;
const counterLabels = {
  pushed: "messages",
  answered: "answered",
  twice: "twice",
  lost: "lost",
  conflicts: "409s",
  crashes: "crashes",
  switch: "handover",
};
const counterCells = new Map<LaneName, Map<string, CounterCell>>();

function cellsOf(lane: LaneName): Map<string, CounterCell> {
  const present = counterCells.get(lane);
  if (present) return present;
  const cells = new Map<string, CounterCell>();
  const list = part(lane, ".counters");
  for (const name of counterNames) {
    const label = make("dt", { textContent: counterLabels[name] });
    const value = make("dd");
    value.dataset.counter = name;
    const box = make("div", {}, label, value);
    cells.set(name, { box, label, value });
    list.append(box);
  }
  counterCells.set(lane, cells);
  return cells;
}

function showCounters(name: LaneName, counters: Counters): void {
  const cells = cellsOf(name);
  for (const key of counterNames) {
    const cell = cells.get(key);
    if (!cell) continue;
    if (key === "switch") {
      const { lastSwitch } = counters;
      setText(cell.label, lastSwitch?.kind ?? "handover");
      setText(cell.value, lastSwitch ? milliseconds(lastSwitch.ms) : "–");
      continue;
    }
    setText(cell.value, String(counters[key]));
    const isDamage = key !== "pushed" && key !== "answered";
    cell.box.classList.toggle("bad", isDamage && counters[key] > 0);
  }
  const waiting = document.querySelector(`.lane[data-lane="${name}"] .waiting`);
  if (waiting) setText(waiting, waitingText(counters));
}

function milliseconds(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${Number((ms / 1_000).toFixed(1))} s`;
}

/** Chips beyond these are only counted. */
const mostChips = 14;
const damageCounts = new Map<LaneName, number>();
const chipOf = new WeakMap<Message, HTMLElement>();

/** Messages that were answered twice or lost stay on the page when they have left the timeline. */
function showDamage(lane: LaneName, message: Message): void {
  const { number, answers, lostAt } = message;
  if (answers.length < 2 && lostAt === undefined) return;
  const text =
    lostAt === undefined
      ? `◆ ${number} by ${answers.map(({ instance }) => instance).join(", ")}`
      : `✕ ${number} lost`;
  const chip = chipOf.get(message);
  if (chip) return setText(chip, text);
  const added = make("li", { textContent: text });
  chipOf.set(message, added);
  const list = part(lane, ".damage ul");
  part(lane, ".damage").classList.add("any");
  const total = (damageCounts.get(lane) ?? 0) + 1;
  damageCounts.set(lane, total);
  const sum = list.querySelector(".more") ?? make("li", { className: "more" });
  setText(sum, `${total} in all`);
  list.prepend(sum, added);
  while (list.children.length > mostChips) list.lastElementChild?.remove();
}

const log = element<HTMLOListElement>("#log");
const mostLines = 60;

function showLine(line: Line): void {
  const time = make("time", { textContent: `${((line.at - startedAt) / 1_000).toFixed(1)} s` });
  const what = make("span", { className: "what" }, line.text);
  if (line.link) what.append(" ", make("a", { href: line.link.href, textContent: line.link.text }));
  const who = make("span", { className: "who", textContent: whoOf(line.lane) });
  const className = line.lane === undefined ? "story-line" : line.tone;
  log.prepend(make("li", { className }, time, who, what));
  while (log.children.length > mostLines) log.lastElementChild?.remove();
  if (line.lane === undefined) return;
  const latest = part(line.lane, ".latest");
  latest.className = `latest ${line.tone}`;
  latest.replaceChildren(time.cloneNode(true), " ", what.cloneNode(true));
}

function whoOf(lane: LaneName | undefined): string {
  return lane === undefined ? "Story" : lane === "plain" ? "Plain" : "Safe";
}

// ---------------------------------------------------------------------------------------------- stories

function showStories(offers: readonly StoryOffer[]): void {
  const list = element("#stories");
  for (const { id, title, teaser, missing } of offers) {
    let button = list.querySelector<HTMLButtonElement>(`button[data-story="${id}"]`);
    if (!button) {
      button = make(
        "button",
        { type: "button", className: "story" },
        make("b", { textContent: title }),
        make("span"),
      );
      button.dataset.story = id;
      button.ariaPressed = "false";
      button.addEventListener("click", () => send({ type: "play", story: id }));
      list.append(make("li", {}, button));
    }
    button.disabled = missing !== undefined;
    setText(element("span", button), missing === undefined ? teaser : `Not here: ${missing}`);
  }
}

function showStory(story: StoryView | undefined): void {
  isStoryPlaying = story?.state === "playing";
  const narration = element<HTMLElement>("#narration");
  narration.dataset.state = story?.state ?? "none";
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-story]"))
    button.ariaPressed = String(isStoryPlaying && button.dataset.story === story?.id);
  element<HTMLFieldSetElement>("#free-controls").disabled = isStoryPlaying;
  const stop = element<HTMLButtonElement>("#stop-story");
  // Whoever pressed it goes on from where the story was begun.
  if (!isStoryPlaying && document.activeElement === stop)
    document.querySelector<HTMLButtonElement>(`button[data-story="${story?.id}"]`)?.focus();
  stop.hidden = !isStoryPlaying;
  const link = element<HTMLAnchorElement>("#narration-link");
  link.hidden = !story?.link;
  if (!story) {
    setText(element("#narration-step"), "No story is being played");
    setText(element("#narration-sentence"), "Press a story, or press the buttons and see what happens.");
    element("#progress").replaceChildren();
    return;
  }
  const { title, step, steps, state } = story;
  const where = state === "playing" ? `step ${step} of ${steps}` : state;
  setText(element("#narration-step"), `${title} · ${where}`);
  setText(element("#narration-sentence"), story.sentence);
  if (story.link) {
    link.href = story.link.href;
    setText(link, story.link.text);
  }
  const marks = Array.from({ length: steps }, (_, index) =>
    make("li", { className: index < step ? "done" : "" }),
  );
  element("#progress").replaceChildren(...marks);
}

// ---------------------------------------------------------------------------------------------- controls

const rates = [0, 1, 2, 5, 10, 20, 50];
const handlerTimes = [0, 20, 50, 100, 250, 500, 1_000, 2_000];

function fillPlatforms(platforms: Snapshot["platforms"]): void {
  const select = element<HTMLSelectElement>("#platform");
  if (select.options.length > 0) return;
  for (const { id, label } of platforms) select.append(make("option", { value: id, textContent: label }));
}

const lockTitles = { none: "None", file: "A file", postgres: "Postgres", redis: "Redis" };

function showLocks(locks: readonly LockView[]): void {
  const list = element("#locks");
  for (const { kind, status, note } of locks) {
    let input = list.querySelector<HTMLInputElement>(`input[value="${kind}"]`);
    if (!input) {
      input = make("input", { type: "radio", name: "lock", value: kind });
      input.addEventListener("change", () => send({ type: "reset", lock: kind }));
      list.append(
        make(
          "li",
          {},
          make("label", {}, input, make("span", { textContent: lockTitles[kind] }), make("small")),
        ),
      );
    }
    input.disabled = status !== "ready";
    const label = input.closest("label");
    if (label) setText(element("small", label), status === "unavailable" ? `Not here: ${note}` : note);
  }
}

function showSettings(news: Settings): void {
  settings = news;
  for (const input of document.querySelectorAll<HTMLInputElement>('input[name="lock"]'))
    input.checked = input.value === news.lock;
  setText(part("safe", "code"), `safeStartPolling(bot, { lock${news.lock === "none" ? ": false" : ""} })`);
  showRange("#rate", rates, news.messagesPerSecond);
  setText(element("#rate-value"), String(news.messagesPerSecond));
  showRange("#handler", handlerTimes, news.handlerMs);
  setText(element("#handler-value"), milliseconds(news.handlerMs));
  showToggles();
}

function showRange(selector: string, values: readonly number[], value: number): void {
  const range = element<HTMLInputElement>(selector);
  const nearest = values.findIndex((one) => one >= value);
  range.value = String(nearest === -1 ? values.length - 1 : nearest);
  range.setAttribute("aria-valuetext", selector === "#rate" ? `${value} per second` : milliseconds(value));
}

/** Buttons that undo what they did. */
function showToggles(): void {
  const lane = chosenLane();
  const concerned = laneNames
    .filter((name) => lane === undefined || name === lane)
    .map((name) => lanes.get(name));
  const has = (check: (instance: Instance) => boolean) =>
    concerned.some((model) => [...(model?.instances.values() ?? [])].some(check));
  const stateOf = ({ changes }: Instance) => changes.at(-1)?.state ?? "starting";
  toggle(
    "freeze",
    has((instance) => stateOf(instance) === "frozen"),
  );
  toggle(
    "rogue",
    has((instance) => instance.name.startsWith("rogue") && !over.has(stateOf(instance))),
  );
  toggle(
    "set-webhook",
    concerned.some((model) => model?.isWebhookSet),
  );
  const hasServer = settings?.lock === "postgres" || settings?.lock === "redis";
  toggle("cut-lock", settings?.lockFault === "cut", !hasServer || settings?.lockFault === "killed");
  toggle("kill-lock", settings?.lockFault === "killed", !hasServer);
  const hint = !hasServer
    ? "No server: nothing to cut off or to kill."
    : `A lease that is not renewed ends after ${(settings?.leaseMs ?? 0) / 1_000} s.`;
  setText(element("#lock-hint"), hint);
}

function toggle(command: string, isOn: boolean, isDisabled = false): void {
  const button = element<HTMLButtonElement>(`button[data-command="${command}"]`);
  button.dataset.label ??= button.textContent ?? "";
  setText(button, isOn ? (button.dataset.otherLabel ?? "") : button.dataset.label);
  button.classList.toggle("on", isOn);
  button.disabled = isDisabled;
}

function chosenLane(): LaneName | undefined {
  const chosen = element<HTMLInputElement>('input[name="lane"]:checked').value;
  return laneNames.find((name) => name === chosen);
}

function press(button: HTMLButtonElement): void {
  const { command = "", other } = button.dataset;
  const type = button.classList.contains("on") ? other : command;
  const lane = chosenLane();
  const whose = lane === undefined ? {} : { lane };
  if (type === "deploy")
    return send({ type, platform: element<HTMLSelectElement>("#platform").value, ...whose });
  if (type === "reset") return send({ type, lock: settings?.lock ?? "file" });
  send({ type, ...whose } as Command);
}

function send(command: Command): void {
  const refusal = element("#refusal");
  setText(refusal, "");
  const request = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(command),
  };
  fetch("/command", request).then(
    async (response) => {
      if (!response.ok) setText(refusal, await response.text());
      // The radio of a lock that was refused goes back.
      if (!response.ok && settings) showSettings(settings);
    },
    () => setText(refusal, "The playground does not answer. Is it still running?"),
  );
}

function listenToControls(): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-command]"))
    button.addEventListener("click", () => press(button));
  for (const input of document.querySelectorAll('input[name="lane"]'))
    input.addEventListener("change", showToggles);
  element("#stop-story").addEventListener("click", () => send({ type: "stop-story" }));
  const rate = element<HTMLInputElement>("#rate");
  rate.addEventListener("input", () =>
    send({ type: "rate", messagesPerSecond: rates[Number(rate.value)] ?? 0 }),
  );
  const handler = element<HTMLInputElement>("#handler");
  handler.addEventListener("input", () =>
    send({ type: "handler", handlerMs: handlerTimes[Number(handler.value)] ?? 0 }),
  );
  element("#controls").addEventListener("submit", (event) => event.preventDefault());
}

// ---------------------------------------------------------------------------------------------- drawing

const rowHeight = 46;
const axisHeight = 20;
const pixelsPerSecond = 46;
const rightEdge = 14;
const dotY = 27;
const barY = 36;
const barHeight = 7;
const travelMs = 450;
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

interface Palette {
  readonly text: string;
  readonly quiet: string;
  readonly well: string;
  readonly bad: string;
  readonly idle: string;
  readonly grid: string;
  readonly ground: string;
}

let palette = readPalette();

function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: colour("text"),
    quiet: colour("quiet"),
    well: colour("well"),
    bad: colour("bad"),
    idle: colour("idle"),
    grid: colour("grid"),
    ground: colour("sunken"),
  };
}

/** The timeline of one lane: now is at the right, the past moves to the left. */
class Drawing {
  readonly #lane: LaneName;
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  #width = 0;
  #height = 0;
  #rows = 1;

  constructor(lane: LaneName) {
    this.#lane = lane;
    this.#canvas = part<HTMLCanvasElement>(lane, "canvas");
    const context = this.#canvas.getContext("2d");
    if (!context) throw new Error("no canvas");
    this.#context = context;
    new ResizeObserver(() => this.resize(this.#rows)).observe(this.#canvas);
  }

  get windowMs(): number {
    return ((this.#width - rightEdge) / pixelsPerSecond) * 1_000;
  }

  resize(rows: number): void {
    this.#rows = rows;
    const height = rows * rowHeight + axisHeight;
    const width = this.#canvas.clientWidth;
    const scale = devicePixelRatio;
    if (width === this.#width && height === this.#height && this.#canvas.width === Math.round(width * scale))
      return;
    this.#width = width;
    this.#height = height;
    this.#canvas.style.height = `${height}px`;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
    this.draw();
  }

  draw(): void {
    const lane = lanes.get(this.#lane);
    if (!lane || this.#width === 0) return;
    const now = pictureTime();
    this.#context.clearRect(0, 0, this.#width, this.#height);
    this.#drawGrid(now);
    const rowOf = new Map([...lane.instances.keys()].map((name, index) => [name, index + 1]));
    for (const instance of lane.instances.values())
      this.#drawInstance(instance, (rowOf.get(instance.name) ?? 0) * rowHeight, now);
    this.#drawMessages(lane, rowOf, now);
  }

  #x(at: number, now: number): number {
    return this.#width - rightEdge - ((now - at) / 1_000) * pixelsPerSecond;
  }

  #drawGrid(now: number): void {
    const context = this.#context;
    context.lineWidth = 1;
    context.font = "11px ui-sans-serif, system-ui, sans-serif";
    context.textAlign = "center";
    const stepMs = 5_000;
    const latest = startedAt + Math.floor((now - startedAt) / stepMs) * stepMs;
    for (let at = latest; this.#x(at, now) > 0; at -= stepMs) {
      const x = Math.round(this.#x(at, now)) + 0.5;
      context.strokeStyle = palette.grid;
      this.#line(x, 0, x, this.#height - axisHeight);
      const second = Math.round((at - startedAt) / 1_000);
      context.fillStyle = palette.quiet;
      if (second >= 0 && x > 16 && x < this.#width - 24) context.fillText(`${second} s`, x, this.#height - 6);
    }
    context.strokeStyle = palette.grid;
    for (let row = 1; row <= this.#rows; row++)
      this.#line(0, row * rowHeight - 0.5, this.#width, row * rowHeight - 0.5);
    context.strokeStyle = palette.idle;
    this.#line(0, barY + 3.5, this.#width - rightEdge, barY + 3.5);
  }

  #drawInstance({ changes }: Instance, top: number, now: number): void {
    for (const [index, { at, state }] of changes.entries()) {
      const until = changes[index + 1]?.at ?? now;
      const from = Math.max(0, this.#x(at, now));
      const to = Math.min(this.#width - rightEdge, this.#x(until, now));
      if (to > 0 && at <= now) this.#drawState(state, from, to, top + barY, this.#x(at, now));
    }
  }

  #drawState(state: InstanceState, from: number, to: number, top: number, exactFrom: number): void {
    const context = this.#context;
    const middle = top + barHeight / 2;
    const dashed = (colour: string, dash: number[], lineWidth: number) => {
      context.strokeStyle = colour;
      context.lineWidth = lineWidth;
      context.setLineDash(dash);
      // Dashes stay where they are in time while the picture moves.
      context.lineDashOffset = from - exactFrom;
      this.#line(from, middle, to, middle);
      context.setLineDash([]);
    };
    switch (state) {
      case "polling":
        context.fillStyle = palette.well;
        context.fillRect(from, top, to - from, barHeight);
        return;
      case "standby":
        context.strokeStyle = palette.well;
        context.lineWidth = 1.5;
        context.strokeRect(from + 0.75, top + 0.75, Math.max(0, to - from - 1.5), barHeight - 1.5);
        return;
      case "draining":
        return dashed(palette.well, [3, 3], barHeight);
      case "starting":
        return dashed(palette.idle, [2, 3], 2);
      case "frozen":
        return dashed(palette.idle, [9, 3], barHeight);
      case "conflict":
        return this.#zigzag(from, to, top);
      default:
        return this.#drawEnd(state, exactFrom, middle);
    }
  }

  #zigzag(from: number, to: number, top: number): void {
    const context = this.#context;
    context.strokeStyle = palette.bad;
    context.lineWidth = 2;
    context.beginPath();
    for (let x = from, up = true; x <= to + 4; x += 4, up = !up)
      context.lineTo(x, up ? top : top + barHeight);
    context.stroke();
  }

  #drawEnd(state: InstanceState, x: number, y: number): void {
    const context = this.#context;
    if (state === "stopped") {
      context.fillStyle = palette.idle;
      context.fillRect(x - 4, y - 4, 8, 8);
    } else this.#cross(x, y, 5);
  }

  #drawMessages(lane: LaneModel, rowOf: ReadonlyMap<string, number>, now: number): void {
    const context = this.#context;
    const isDense = (settings?.messagesPerSecond ?? 0) > 20;
    const radius = isDense ? 1.8 : 2.8;
    const oldest = now - this.windowMs - 1_000;
    const special: Message[] = [];
    for (const message of lane.messages.values()) {
      const { pushedAt, answers, lostAt } = message;
      if (pushedAt > now) continue;
      const [first] = answers;
      if (Math.max(pushedAt, answers.at(-1)?.at ?? 0) < oldest) continue;
      if (answers.length > 1 || lostAt !== undefined) special.push(message);
      const x = this.#x(pushedAt, now);
      if (first === undefined || first.at > now) {
        if (lostAt === undefined || lostAt > now) this.#ring(x, dotY, radius);
        continue;
      }
      // Where it came in: the same marks in both lanes.
      context.fillStyle = palette.idle;
      context.fillRect(x - 0.5, barY - 3, 1, 6);
      this.#drawAnswer(message, first, rowOf, now, radius);
    }
    for (const message of special) this.#drawDamage(message, rowOf, now);
  }

  /** A dot on its way from Telegram to the instance that answers, or there. */
  #drawAnswer(
    { pushedAt }: Message,
    { at, instance }: Message["answers"][number],
    rowOf: ReadonlyMap<string, number>,
    now: number,
    radius: number,
  ): void {
    const row = rowOf.get(instance);
    if (row === undefined) return;
    const progress = stillness.matches ? 1 : Math.min(1, (now - at) / travelMs);
    const eased = 1 - (1 - progress) ** 3;
    const fromX = Math.max(0, this.#x(pushedAt, now));
    const toX = this.#x(at, now);
    const toY = row * rowHeight + dotY;
    const context = this.#context;
    context.fillStyle = palette.text;
    context.beginPath();
    context.arc(fromX + (toX - fromX) * eased, dotY + (toY - dotY) * eased, radius, 0, 2 * Math.PI);
    context.fill();
  }

  #drawDamage({ pushedAt, answers, lostAt }: Message, rowOf: ReadonlyMap<string, number>, now: number): void {
    if (lostAt !== undefined && lostAt <= now) return this.#cross(this.#x(pushedAt, now), dotY, 5);
    const points = answers
      .filter(({ at, instance }) => at <= now && rowOf.has(instance))
      .map(({ at, instance }) => ({
        x: this.#x(at, now),
        y: (rowOf.get(instance) ?? 0) * rowHeight + dotY,
      }));
    const [first] = points;
    if (first === undefined || points.length < 2) return;
    const context = this.#context;
    context.strokeStyle = palette.bad;
    context.lineWidth = 1;
    for (const point of points.slice(1)) this.#line(first.x, first.y, point.x, point.y);
    for (const point of points) this.#diamond(point.x, point.y, 6);
  }

  #ring(x: number, y: number, radius: number): void {
    const context = this.#context;
    context.strokeStyle = palette.text;
    context.fillStyle = palette.ground;
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }

  #diamond(x: number, y: number, size: number): void {
    const context = this.#context;
    context.fillStyle = palette.bad;
    context.strokeStyle = palette.ground;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, y - size);
    context.lineTo(x + size, y);
    context.lineTo(x, y + size);
    context.lineTo(x - size, y);
    context.closePath();
    context.fill();
    context.stroke();
  }

  #cross(x: number, y: number, size: number): void {
    const context = this.#context;
    context.strokeStyle = palette.bad;
    context.lineWidth = 2.5;
    this.#line(x - size, y - size, x + size, y + size);
    this.#line(x - size, y + size, x + size, y - size);
  }

  #line(fromX: number, fromY: number, toX: number, toY: number): void {
    const context = this.#context;
    context.beginPath();
    context.moveTo(fromX, fromY);
    context.lineTo(toX, toY);
    context.stroke();
  }
}

const drawings = new Map<LaneName, Drawing>();

function drawingOf(lane: LaneName): Drawing {
  const drawing = drawings.get(lane) ?? new Drawing(lane);
  drawings.set(lane, drawing);
  return drawing;
}

function windowMs(lane: LaneName): number {
  return drawingOf(lane).windowMs;
}

function drawAll(): void {
  for (const drawing of drawings.values()) drawing.draw();
}

/** With reduced motion the picture moves on once a second, and nothing travels. */
function animate(): void {
  if (stillness.matches) {
    drawAll();
    setTimeout(animate, 1_000);
  } else {
    drawAll();
    requestAnimationFrame(animate);
  }
}

// ---------------------------------------------------------------------------------------------- the feed

function connect(): void {
  const status = element("#link-state");
  const feed = new EventSource("/events");
  feed.addEventListener("open", () => {
    setText(status, "Live");
    status.classList.add("live");
  });
  feed.addEventListener("error", () => {
    setText(status, "The playground has ended");
    status.classList.remove("live");
  });
  feed.addEventListener("snapshot", ({ data }: MessageEvent<string>) => takeSnapshot(JSON.parse(data)));
  feed.addEventListener("batch", ({ data }: MessageEvent<string>) => takeBatch(JSON.parse(data)));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  palette = readPalette();
  drawAll();
});
setInterval(forget, 1_000);
listenToControls();
connect();
animate();
