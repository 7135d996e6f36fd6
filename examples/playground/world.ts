import type { BotApiEmulator } from "grammy-safe-polling/testing";
import { Chronicle } from "./chronicle.js";
import { Feed } from "./feed.js";
import type { Guard } from "./guard.js";
import type { Lane } from "./lane.js";
import { links } from "./links.js";
import { LockShelf } from "./lock-shelf.js";
import { platforms } from "./platforms.js";
import type {
  Change,
  Command,
  LaneName,
  LockKind,
  Settings,
  Snapshot,
  StoryOffer,
  StoryView,
} from "./protocol.js";
import { inBackground, Run, type RunOptions } from "./run.js";
import { type Story, stories } from "./stories.js";
import { StoryPlayer } from "./story-player.js";

export interface WorldOptions {
  readonly api: BotApiEmulator;
  readonly guard: Guard;
  readonly leaseMs: number;
  readonly speed: number;
}

/** A command that makes no sense now. Its message is for the page. */
export class RefusedError extends Error {}

const mostPerSecond = 200;
const longestHandlerMs = 60_000;
/** How long a stopped instance may take to end. */
const graceMs = 30_000;

/** Everything behind the page: the present run, the locks, the stories, and what is told of them. */
export class World implements AsyncDisposable {
  readonly feed = new Feed();
  readonly #options: WorldOptions;
  readonly #chronicle = new Chronicle(this.feed);
  readonly #locks: LockShelf;
  #run: Run;
  #player: StoryPlayer | undefined;
  #runs = 0;
  /** What counters and webhooks were when they were last told of. */
  readonly #told = new Map<string, string>();
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: WorldOptions) {
    this.#options = options;
    const { guard, leaseMs } = options;
    this.#locks = new LockShelf({ guard, leaseMs }, () =>
      this.feed.add({ type: "locks", locks: this.#locks.views, stories: this.#offers() }),
    );
    this.#run = this.#newRun("file", { messagesPerSecond: 5, handlerMs: 50, newestFirst: false });
    for (const lane of this.#run.both) lane.start();
    this.feed.collect = () => this.#collect();
  }

  get snapshot(): Snapshot {
    const { number, startedAt, lanes } = this.#run;
    return {
      now: performance.now(),
      run: number,
      startedAt,
      settings: this.#settings,
      locks: this.#locks.views,
      platforms: platforms.map(({ id, label }) => ({ id, label })),
      stories: this.#offers(),
      story: this.#player?.view,
      lanes: { plain: lanes.plain.view, safe: lanes.safe.view },
      lines: this.#chronicle.lines,
    };
  }

  /** The bots of the present run, for whoever asks the emulator itself. */
  get botIds(): Readonly<Record<LaneName, number>> {
    const { plain, safe } = this.#run.lanes;
    return { plain: plain.bot.id, safe: safe.bot.id };
  }

  /**
   * One command after the other; what takes its time goes on by itself.
   * @throws RefusedError
   */
  command(command: Command): Promise<void> {
    const carriedOut = this.#work.then(() => this.#carryOut(command));
    this.#work = carriedOut.catch(() => {});
    return carriedOut;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#player?.stop();
    await this.#work;
    this.feed[Symbol.dispose]();
    await this.#run[Symbol.asyncDispose]();
    await this.#locks[Symbol.asyncDispose]();
  }

  async #carryOut(command: Command): Promise<void> {
    if (command.type === "stop-story") return this.#player?.stop();
    if (command.type === "play") return this.#play(command.story);
    if (this.#player?.isPlaying) throw new RefusedError("A story is being played. Stop it first.");
    const run = this.#run;
    const lanes = "lane" in command && command.lane ? [run.lanes[command.lane]] : run.both;
    switch (command.type) {
      case "deploy": {
        const platform = platforms.find(({ id }) => id === command.platform);
        if (!platform) throw new RefusedError("There is no such platform.");
        for (const lane of lanes) inBackground(lane.deploy(platform));
        return;
      }
      case "set-webhook":
      case "delete-webhook": {
        const url = command.type === "set-webhook" ? "https://example.com/hook" : "";
        await Promise.all(lanes.map((lane) => lane.setWebhook(url)));
        return;
      }
      case "cut-lock":
      case "heal-lock":
      case "kill-lock":
      case "restart-lock":
        return this.#faultLock(command.type);
      case "rate":
        run.traffic.messagesPerSecond = within(command.messagesPerSecond, mostPerSecond);
        return this.#settingsChanged();
      case "handler":
        run.handlerMs = within(command.handlerMs, longestHandlerMs);
        return this.#settingsChanged();
      case "reset":
        return this.#reset(command.lock);
      default:
        for (const lane of lanes) commandLane(lane, command.type);
    }
  }

  async #faultLock(type: "cut-lock" | "heal-lock" | "kill-lock" | "restart-lock"): Promise<void> {
    const { lockServer, lockKind } = this.#run;
    if (lockKind === "file" || lockKind === "none")
      throw new RefusedError("There is no lock server. Choose Postgres or Redis.");
    const link = lockKind === "redis" ? links.redis : links.postgres;
    const isFaulty = lockServer.fault !== "none";
    if (type === "cut-lock" && !isFaulty) {
      lockServer.cut();
      this.#chronicle.say("safe", "bad", "The network to the lock server is cut: nobody is told.", link);
    } else if (type === "heal-lock" && lockServer.fault === "cut") {
      lockServer.heal();
      this.#chronicle.say("safe", "plain", "The network to the lock server is back.", link);
    } else if (type === "kill-lock" && lockServer.fault !== "killed") {
      await lockServer.kill();
      this.#chronicle.say("safe", "bad", "The lock server is killed (SIGKILL).", link);
    } else if (type === "restart-lock" && lockServer.fault === "killed") {
      await lockServer.restart();
      this.#chronicle.say("safe", "plain", "The lock server is started again.", link);
    }
    this.#settingsChanged();
  }

  async #play(id: string): Promise<void> {
    const story = stories.find((one) => one.id === id);
    if (!story) throw new RefusedError("There is no such story.");
    const lock = this.#lockFor(story);
    if (!lock) throw new RefusedError(this.#missing(story) ?? "Its lock is missing.");
    await this.#reset(lock, story);
    const player = new StoryPlayer({
      story,
      run: this.#run,
      speed: this.#options.speed,
      show: (view) => this.#show(view),
    });
    this.#player = player;
    inBackground(player.play());
  }

  /** Ends the present run and begins another one. */
  async #reset(lock: LockKind, story?: Story): Promise<void> {
    if (!this.#locks.get(lock)) throw new RefusedError(`The ${lock} lock is not there.`);
    const { traffic, handlerMs } = this.#run;
    this.#player?.stop();
    await this.#run[Symbol.asyncDispose]();
    this.#player = undefined;
    this.#chronicle.clear();
    this.#told.clear();
    // A story's messages begin when version 1 polls.
    const messagesPerSecond = story ? 0 : traffic.messagesPerSecond;
    this.#run = this.#newRun(lock, {
      messagesPerSecond,
      handlerMs: story?.handlerMs ?? handlerMs,
      newestFirst: story?.newestFirst ?? false,
    });
    this.feed.restart(this.snapshot);
    for (const lane of this.#run.both) lane.start();
  }

  #newRun(
    lockKind: LockKind,
    settings: Pick<RunOptions, "messagesPerSecond" | "handlerMs" | "newestFirst">,
  ): Run {
    const { api, guard, speed } = this.#options;
    const lockServer = this.#locks.get(lockKind);
    if (!lockServer) throw new RefusedError(`The ${lockKind} lock is not there.`);
    this.#runs += 1;
    return new Run({
      ...settings,
      number: this.#runs,
      api,
      lockKind,
      lockServer,
      guard,
      feed: this.feed,
      chronicle: this.#chronicle,
      speed,
      changed: () => this.#settingsChanged(),
    });
  }

  #show(view: StoryView): void {
    this.feed.add({ type: "story", story: view });
    this.#chronicle.say(undefined, "plain", view.sentence, view.link);
  }

  get #settings(): Settings {
    const { lockKind, lockServer, traffic, handlerMs } = this.#run;
    return {
      lock: lockKind,
      lockFault: lockServer.fault,
      messagesPerSecond: traffic.messagesPerSecond,
      handlerMs,
      leaseMs: this.#options.leaseMs,
    };
  }

  #settingsChanged(): void {
    this.feed.add({ type: "settings", settings: this.#settings });
  }

  #offers(): StoryOffer[] {
    return stories.map((story) => {
      const { id, title, teaser } = story;
      return { id, title, teaser, missing: this.#missing(story) };
    });
  }

  #lockFor({ locks }: Story): LockKind | undefined {
    return locks.find((kind) => this.#locks.get(kind));
  }

  #missing(story: Story): string | undefined {
    if (this.#lockFor(story)) return undefined;
    const wanted = this.#locks.views.find(({ kind }) => kind === story.locks[0]);
    return wanted && `${wanted.kind}: ${wanted.note}`;
  }

  /** Counters and webhooks, where they differ from what was told last. */
  #collect(): Change[] {
    const changes = this.#run.both.flatMap((lane): Change[] => [
      { type: "counters", lane: lane.name, counters: lane.counters },
      { type: "webhook", lane: lane.name, isSet: lane.isWebhookSet },
    ]);
    return changes.filter((change) => {
      const key = "lane" in change ? `${change.type} ${change.lane}` : change.type;
      const text = JSON.stringify(change);
      if (this.#told.get(key) === text) return false;
      this.#told.set(key, text);
      return true;
    });
  }
}

type LaneCommand = Exclude<
  Command["type"],
  | "deploy"
  | "set-webhook"
  | "delete-webhook"
  | "cut-lock"
  | "heal-lock"
  | "kill-lock"
  | "restart-lock"
  | "rate"
  | "handler"
  | "reset"
  | "play"
  | "stop-story"
>;

function commandLane(lane: Lane, type: LaneCommand): void {
  switch (type) {
    case "add":
      lane.add();
      return;
    case "stop":
      return lane.stop(graceMs);
    case "kill":
      return lane.kill();
    case "freeze":
      return lane.freeze();
    case "thaw":
      return lane.thaw();
    case "rogue":
      return lane.startRogue();
    case "end-rogue":
      return lane.endRogues();
    default:
      throw new RefusedError("There is no such command.");
  }
}

function within(value: unknown, most: number): number {
  const number = Number(value);
  if (!(number >= 0 && number <= most)) throw new RefusedError(`Expected a number from 0 to ${most}.`);
  return number;
}
