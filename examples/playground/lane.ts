import type { BotAccount, BotApiEmulator, BotApiEvent, EventOf } from "grammy-safe-polling/testing";
import type { LockChoice } from "../../test/tools/bot-fleet.js";
import { beforePolling } from "../../test/tools/instance-states.js";
import { type News, PlatformInstance, type ProcessEnd } from "../../test/tools/platform-instance.js";
import type { Patience } from "../demo/patience.js";
import type { Chronicle } from "./chronicle.js";
import { DamageReport } from "./damage-report.js";
import type { Feed } from "./feed.js";
import type { Guard } from "./guard.js";
import { links } from "./links.js";
import { MessageBook } from "./message-book.js";
import { type Platform, withoutLock } from "./platforms.js";
import type { Counters, InstanceView, LaneName, LaneView, Line, Link } from "./protocol.js";
import { Switchover } from "./switchover.js";

export interface LaneOptions {
  readonly name: LaneName;
  readonly run: number;
  readonly api: BotApiEmulator;
  readonly bot: BotAccount;
  /** Only the lane with a lock uses it. */
  readonly lock: LockChoice;
  /** Their `priority` is the number of the version. */
  readonly newestFirst: boolean;
  readonly guard: Guard;
  readonly feed: Feed;
  readonly chronicle: Chronicle;
  readonly patience: Patience;
  /** Divides the times that a platform waits. */
  readonly speed: number;
  readonly handlerMs: number;
}

/** The page shows so much of the past. */
const shownMs = 30_000;
/** Without a lock only who has polled for a minute gives way. The first instance has; for later ones it is played in this time. */
const playedMinuteMs = 10_000;

/** One bot, the instances of it, and what their Bot API server sees of them. */
export class Lane implements AsyncDisposable {
  readonly name: LaneName;
  readonly bot: BotAccount;
  readonly #options: LaneOptions;
  readonly #instances: PlatformInstance[] = [];
  readonly #book: MessageBook;
  readonly #switchover = new Switchover();
  readonly #forget: () => void;
  /** Instances whose first poll since they stood by or started was told of. */
  readonly #announced = new Set<PlatformInstance>();
  readonly #damage = new DamageReport((text, link) => this.#say("bad", text, link));
  #handlerMs: number;
  #crashes = 0;
  #version = 0;
  #rogues = 0;
  #lastPoller = "";
  #isDisposed = false;

  constructor(options: LaneOptions) {
    this.#options = options;
    this.name = options.name;
    this.bot = options.bot;
    this.#handlerMs = options.handlerMs;
    const { feed } = options;
    const lane = this.name;
    this.#book = new MessageBook({
      pushed: (number, at) => feed.add({ type: "pushed", lane, number, at }),
      answered: (number, at, tag, times) => {
        feed.add({ type: "answered", lane, number, at, instance: this.#byTag(tag)?.name ?? tag });
        if (times > 1) this.#damage.twice(number);
      },
      lost: (number, at) => {
        feed.add({ type: "lost", lane, number, at });
        this.#damage.lost(number);
      },
    });
    this.#forget = options.api.onEvent((event) => {
      if (event.botId === this.bot.id) this.#observe(event);
    });
  }

  get counters(): Counters {
    const { pushed, answered, repeatedAnswers, conflicts } = this.#options.api.counters(this.bot.id);
    return {
      pushed,
      answered,
      waiting: pushed - answered - this.#book.lost,
      twice: repeatedAnswers,
      lost: this.#book.lost,
      conflicts: Object.values(conflicts).reduce((sum, { live }) => sum + live, 0),
      crashes: this.#crashes,
      ...(this.#switchover.last && { lastSwitch: this.#switchover.last }),
    };
  }

  get isWebhookSet(): boolean {
    return this.#options.api.state(this.bot.id).isWebhookActive;
  }

  /** Everything that the page shows of it. */
  get view(): LaneView {
    const since = performance.now() - shownMs;
    const nameOf = (tag: string) => this.#byTag(tag)?.name ?? tag;
    const instances: InstanceView[] = this.#instances
      .filter(({ isOver, changes }) => !isOver || (changes.at(-1)?.at ?? 0) > since)
      .map(({ name, note, changes }) => ({ name, note, changes: [...changes] }));
    const messages = this.#book.since(since).map((message) => ({
      ...message,
      answers: message.answers.map(({ at, instance }) => ({ at, instance: nameOf(instance) })),
    }));
    return { counters: this.counters, instances, messages, isWebhookSet: this.isWebhookSet };
  }

  /** Who polls, by what was seen last. */
  get poller(): PlatformInstance | undefined {
    return this.#own().find(({ state }) => state === "polling");
  }

  get running(): readonly PlatformInstance[] {
    return this.#own().filter(({ isRunning }) => isRunning);
  }

  named(name: string): PlatformInstance {
    const instance = this.#instances.find((one) => one.name === name);
    if (!instance) throw new Error(`no instance ${name} in the ${this.name} lane`);
    return instance;
  }

  /** Starts one instance of a new version, with nothing that it replaces. */
  start(name = `v${++this.#version}`): PlatformInstance {
    return this.#add(name, this.name === "safe" ? "safe" : "plain");
  }

  /** Resolves when an instance answers health checks: it polls or stands by, or has ended. */
  async healthy(instance: PlatformInstance): Promise<void> {
    const isHealthy = Promise.race([instance.reaches("polling", "standby"), instance.over()]);
    await this.#options.patience.for(`${instance.name} is healthy`, isHealthy);
  }

  /** A rolling deploy: the new version beside the old one, until the platform ends the old one. */
  async deploy(platform: Platform): Promise<void> {
    const { patience, speed } = this.#options;
    const old = this.#own().filter(({ isWanted }) => isWanted);
    const fresh = this.start();
    this.#say(
      "plain",
      old.length === 0
        ? `${platform.name} starts ${fresh.name}.`
        : `${platform.name} starts ${fresh.name} beside ${namesOf(old)} and waits until it is healthy.`,
      links.deploy,
    );
    await this.healthy(fresh);
    await patience.pass(platform.overlapMs / speed);
    for (const instance of old) this.terminate(instance, platform.graceMs);
    await patience.for(`${namesOf(old)} ends`, Promise.all(old.map((instance) => instance.over())));
  }

  /** Its machine is gone: SIGKILL, and nobody starts it again. */
  lose(instance: PlatformInstance): void {
    this.#switchover.departed(instance, { kind: "takeover" });
    this.#say("bad", `The machine of ${instance.name} is gone.`, links.guarantees);
    void instance.destroy();
  }

  /** One more instance of the present version. */
  add(): PlatformInstance {
    const version = `v${Math.max(1, this.#version)}`;
    const taken = new Set(this.#instances.map(({ name }) => name));
    let number = 2;
    while (taken.has(`${version}-${number}`)) number += 1;
    const instance = this.start(`${version}-${number}`);
    this.#say("plain", `One more instance starts: ${instance.name}.`, links.howItWorks);
    return instance;
  }

  /** SIGTERM, as a platform does before it ends an instance. */
  terminate(instance: PlatformInstance, graceMs: number): void {
    this.#switchover.departed(instance, { kind: "handover" });
    const ways = {
      safe: this.#isLocked
        ? "it lets its handlers end, confirms, and releases the lock"
        : "it lets its handlers end, and confirms",
      plain: "bot.stop() confirms what it has begun, with one more getUpdates",
      rogue: "it ends as it is",
    };
    const what = ways[instance.way];
    const how = instance.isRunning ? `: ${what}` : ", which is down after a crash";
    this.#say("plain", `SIGTERM to ${instance.name}${how}.`, links.deploy);
    instance.terminate(graceMs);
  }

  stop(graceMs: number): void {
    const target = this.#target();
    if (target) this.terminate(target, graceMs);
    else this.#say("plain", "There is nobody to stop.");
  }

  kill(): void {
    const target = this.#target();
    if (!target) return this.#say("plain", "There is nobody to kill.");
    this.#switchover.departed(target, { kind: "takeover" });
    this.#say(
      "bad",
      `SIGKILL to ${target.name}: what it had fetched and not confirmed comes again.`,
      links.guarantees,
    );
    target.kill();
  }

  freeze(): void {
    const target = this.#target();
    if (!target) return this.#say("plain", "There is nobody to freeze.");
    this.#switchover.departed(target, { kind: "takeover", mayReturn: true });
    const { lock } = this.#options;
    const what =
      target.way !== "safe" || !this.#isLocked
        ? "it answers nothing, and nobody notices"
        : lock.kind === "file"
          ? "a frozen process keeps its file lock, so nobody polls until it is thawed or killed"
          : "its lease ends when it misses its beats, and a standby takes over";
    this.#say("bad", `${target.name} is frozen (SIGSTOP): ${what}.`, links.guarantees);
    target.freeze();
  }

  thaw(): void {
    for (const instance of this.#instances.filter(({ state }) => state === "frozen")) {
      instance.thaw();
      this.#say("plain", `${instance.name} goes on (SIGCONT).`, links.howItWorks);
    }
  }

  startRogue(): void {
    this.#rogues += 1;
    const rogue = this.#add(`rogue ${this.#rogues}`, "rogue");
    this.#say(
      "bad",
      `${rogue.name} starts somewhere: the same token, no lock, and after a 409 it polls again.`,
      links.conflict,
    );
  }

  endRogues(): void {
    for (const rogue of this.#instances.filter(({ way, isWanted }) => way === "rogue" && isWanted)) {
      this.#say("plain", `${rogue.name} is ended.`);
      rogue.terminate(2_000);
    }
  }

  /** As somebody else would, by a call of the Bot API. */
  async setWebhook(url: string): Promise<void> {
    const { api } = this.#options;
    const method = url === "" ? "deleteWebhook" : "setWebhook";
    await fetch(`${api.urlFor("somebody")}/bot${this.bot.token}/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ url }),
      signal: AbortSignal.timeout(5_000),
    });
    if (url === "") this.#say("plain", "Somebody deletes the webhook.", links.conflict);
    else
      this.#say(
        "bad",
        "Somebody sets a webhook: from now on Telegram refuses every poll with a 409.",
        links.conflict,
      );
  }

  set handlerMs(handlerMs: number) {
    this.#handlerMs = handlerMs;
    for (const instance of this.#instances) instance.setHandlerMs(handlerMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#forget();
    this.#damage[Symbol.dispose]();
    await Promise.all(this.#instances.map((instance) => instance.destroy()));
  }

  #add(name: string, way: PlatformInstance["way"]): PlatformInstance {
    const { api, run, guard, feed, lock, newestFirst } = this.#options;
    const tag = `run ${run} ${this.name} ${name}`;
    const priority = newestFirst ? this.#version : 0;
    const options = {
      instance: name,
      logger: false,
      priority,
      ...(this.#isLocked ? { startDelayMs: 0 } : withoutLock),
    } as const;
    const instance = new PlatformInstance({
      name,
      tag,
      way,
      assign: () => ({
        tokens: [this.bot.token],
        apiRoot: api.urlFor(tag),
        handlerMs: this.#handlerMs,
        tellsUpdates: false,
        lock,
        options,
        ...(!this.#isLocked && { agesAfterMs: this.running.length > 0 ? playedMinuteMs : 0 }),
      }),
      events: {
        spawned: (process) => guard.watch(process),
        changed: ({ note, changes }) => {
          const change = changes.at(-1);
          if (change) feed.add({ type: "state", lane: this.name, name, note, change });
        },
        told: (teller, news) => this.#told(teller, news),
        ended: (ended, end) => this.#ended(ended, end),
      },
    });
    this.#instances.push(instance);
    instance.start();
    return instance;
  }

  /** Whether its instances have a lock to agree on. */
  get #isLocked(): boolean {
    return this.#options.lock.kind !== "none";
  }

  #observe(event: BotApiEvent): void {
    this.#book.observe(event);
    if (event.type === "poll") this.#polled(event);
    else if (event.type === "conflict") this.#conflicted(event);
  }

  #polled(event: EventOf<"poll">): void {
    const instance = this.#byTag(event.instance);
    if (!instance) return;
    this.#lastPoller = instance.name;
    if (instance.way !== "safe" && beforePolling.has(instance.state)) instance.enter("polling");
    const isConfirmation = instance.state === "draining";
    if (isConfirmation || instance.way === "rogue") return;
    const gapMs = this.#switchover.polled(instance, event.at);
    if (this.#announced.has(instance)) return;
    this.#announced.add(instance);
    const time = gapMs === undefined ? "" : `, after ${inWords(gapMs)} without a poller`;
    const why = instance.way === "safe" && this.#isLocked ? " and holds the lock" : "";
    this.#say("good", `${instance.name} polls${why}${time}.`, links.howItWorks);
  }

  /** A poll was ended or refused; the 409 follows, perhaps later. */
  #conflicted({ instance: tag, conflict, delayMs }: EventOf<"conflict">): void {
    const instance = this.#byTag(tag);
    if (!instance || instance.way === "safe" || !instance.isRunning) return;
    if (instance.state !== "polling" && instance.state !== "starting") return;
    instance.enter("conflict", "its poll was ended");
    if (instance.way === "rogue") return;
    if (conflict !== "other-poller")
      return this.#say("bad", `${instance.name} may not poll: a webhook is set.`, links.conflict);
    const late =
      delayMs > 0 ? ` Its 409 comes ${Math.round(delayMs / 1_000)} s late; until then it is deaf.` : "";
    this.#say(
      "bad",
      `${this.#lastPoller} polls too, so Telegram ends the poll of ${instance.name}.${late}`,
      links.conflict,
    );
  }

  #told(instance: PlatformInstance, news: News): void {
    const { api, lock } = this.#options;
    switch (news.event) {
      case "state":
        // Its last words are the end of the process, which is seen.
        if (news.state === "stopped" || news.state === "failed") return;
        if (news.state === "standby") this.#announced.delete(instance);
        if (instance.state !== "draining" || instance.isWanted) instance.enter(news.state);
        return;
      case "standby":
        instance.enter("standby", `${news.holder ?? "another"} holds the lock`);
        return this.#say(
          "good",
          `${instance.name} stands by, healthy: ${news.holder ?? "another instance"} holds the lock.`,
          links.howItWorks,
        );
      case "acquired":
        // A frozen holder's poll is still parked: nobody will read what it gets.
        for (const frozen of this.#instances.filter(({ state }) => state === "frozen"))
          api.markLeaseEnded(frozen.tag, news.at);
        return;
      case "lost":
        this.#switchover.departed(instance, { kind: "takeover", mayReturn: true });
        return this.#say(
          "bad",
          news.reason === "expired" || news.reason === "connection"
            ? `${instance.name} can no longer prove that it holds the lock, so it stops polling; messages wait at Telegram.`
            : `${instance.name} has lost the lock, so it stops polling.`,
          lock.kind === "redis" ? links.redis : links.postgres,
        );
      case "conflict":
        return this.#say(
          "bad",
          news.kind === "other-poller"
            ? `${instance.name} ${news.seenBy === "gap" ? "misses messages" : "gets a 409"}: somebody ${this.#isLocked ? "polls without the lock" : "else polls"}.`
            : `${instance.name} gets a 409: a webhook is set. It deletes it once; pending messages are kept.`,
          links.conflict,
        );
      case "asked":
        if (news.answer !== "hands-over") return;
        this.#switchover.departed(instance, { kind: "handover", mayReturn: true });
        return this.#say(
          "good",
          `${news.from} asks for the lock, and its priority is higher: ${instance.name} lets its handlers end and hands over.`,
          links.priority,
        );
      case "retry": {
        const seconds = (news.delayMs / 1_000).toFixed(1);
        if (news.givesWay)
          return this.#say(
            "good",
            `${instance.name}, which has polled for a minute, leaves the bot to the newcomer and waits for its SIGTERM, ${seconds} s at most.`,
            links.noLock,
          );
        const what = this.#isLocked ? "keeps the lock and polls" : "polls";
        return this.#say(
          "plain",
          `${instance.name} ${what} again in ${seconds} s (attempt ${news.attempt} of ${news.attempts}).`,
          links.options,
        );
      }
    }
  }

  #ended(instance: PlatformInstance, { code, signal, reason }: ProcessEnd): void {
    this.#announced.delete(instance);
    this.#book.ended(instance.tag, performance.now());
    if (this.#isDisposed || instance.way === "rogue") return;
    if (signal === "SIGKILL") {
      const next = instance.isWanted ? " The platform starts it again in 1 s." : "";
      return this.#say("bad", `${instance.name} was killed.${next}`, links.guarantees);
    }
    if (instance.state === "stopped") {
      const wasReady = signal !== "SIGTERM";
      const how = !wasReady
        ? "it had not started yet"
        : instance.way === "safe"
          ? "nothing is left half done"
          : "bot.stop() is through";
      return this.#say("plain", `${instance.name} has ended: ${how}.`, links.howItWorks);
    }
    this.#crashes += 1;
    this.#switchover.departed(instance, { kind: "takeover" });
    const why = reason?.startsWith("409") ? "grammY takes a 409 as fatal" : "it gave no other reason";
    const next = instance.isWanted ? "; the platform starts it again in 1 s" : "";
    this.#say(
      "bad",
      `${instance.name} crashed (${reason ?? `code ${code}`}): ${why}${next}.`,
      links.conflict,
    );
  }

  /** Whom a button means: the one that polls, else the newest that runs. */
  #target(): PlatformInstance | undefined {
    const running = this.#own().filter(({ isRunning, isWanted }) => isRunning && isWanted);
    return running.find(({ state }) => state === "polling") ?? running.at(-1);
  }

  /** The instances of the bot's owner: all but the rogues. */
  #own(): PlatformInstance[] {
    return this.#instances.filter(({ way }) => way !== "rogue");
  }

  #byTag(tag: string): PlatformInstance | undefined {
    return this.#instances.find((instance) => instance.tag === tag);
  }

  #say(tone: Line["tone"], text: string, link?: Link): void {
    this.#options.chronicle.say(this.name, tone, text, link);
  }
}

function namesOf(instances: readonly PlatformInstance[]): string {
  return instances.map(({ name }) => name).join(" and ");
}

function inWords(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
