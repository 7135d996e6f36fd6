import { isSafePollingError } from "../../../src/errors.js";
import { updateKinds } from "../../tools/update-kinds.js";
import { Instance, type InstanceWorld } from "../instance.js";
import type { Random } from "../random.js";
import type { Accuse } from "../story.js";
import type { Judge } from "./judge.js";
import type { Act, Plot } from "./plot.js";

export interface StageOptions {
  readonly plot: Plot;
  readonly world: InstanceWorld;
  readonly key: string;
  readonly instances: Instance[];
  readonly random: Random;
  readonly accuse: Accuse;
}

/** A platform kills a process that has not ended this long after SIGTERM, in milliseconds. */
const graceMs = 30_000;
const maxInstances = 5;
/** Kinds whose handlers nobody waits for. */
const otherKinds = Object.entries(updateKinds).filter(([kind]) => kind !== "message");

/**
 * A platform that deploys a bot, starts a process again that has ended, and ends old ones; and the rivals and the
 * network that it knows nothing of.
 */
export class Stage {
  readonly #options: StageOptions;
  readonly #undo = new Set<() => void>();
  /** Run by hand elsewhere: no platform starts it again. */
  readonly #laptops = new Set<Instance>();
  readonly #judge: () => Judge;
  #started = 0;
  healedAtMs: number | undefined;
  finaleAtMs: number | undefined;
  isOver = false;

  constructor(options: StageOptions, judge: () => Judge) {
    this.#options = options;
    this.#judge = judge;
  }

  /** Instances whose processes live and were not told to stop. */
  get standing(): Instance[] {
    return this.#options.instances.filter(({ host, isStopping }) => host.state !== "dead" && !isStopping);
  }

  prepare(): void {
    const { key, plot, random, world } = this.#options;
    const { loop, telegram } = world;
    loop.after(0, undefined, () => this.#start());
    for (const atMs of plot.updatesMs) loop.after(atMs, undefined, () => telegram.push(key));
    for (const [index, atMs] of plot.otherUpdatesMs.entries()) {
      const [, make] = random.pick(otherKinds);
      const unixTime = 1_700_000_000 + Math.floor(atMs / 1_000);
      loop.after(atMs, undefined, () => telegram.api.push(Number(key), make(index, unixTime)));
    }
    for (const act of plot.acts) loop.after(act.atMs, undefined, () => this.#perform(act));
    loop.after(plot.healedMs, undefined, () => this.#heal());
  }

  /** `done` of its only handle has settled: a process that was not told to stop is started again. */
  done(instance: Instance, error: unknown): void {
    const { accuse, world } = this.#options;
    world.story.tell(instance.name, `is done${error === undefined ? "" : `: ${error}`}`);
    if (error === undefined) {
      if (!instance.isStopping)
        accuse("no end without a reason", `${instance.name} stopped though nobody asked`);
      // What a process that has stopped leaves behind would keep it alive, or act after its end.
      world.loop.after(5, instance.host, () => this.#exit(instance));
      return;
    }
    if (!isSafePollingError(error, "ERR_CONFLICT"))
      accuse("no end without a reason", `${instance.name}: ${error}`);
    this.#judge().exhausted(instance);
    this.#crash(instance);
  }

  finale(): void {
    this.finaleAtMs = this.#options.world.loop.nowMs;
    for (const instance of this.standing) this.#stop(instance);
  }

  end(): void {
    this.isOver = true;
    this.#options.world.loop.end();
  }

  #start(options = this.#options.world.options): Instance {
    const { instances, random, world } = this.#options;
    this.#started += 1;
    const name = `i${this.#started}`;
    world.story.tell(name, "starts");
    const instance = new Instance(name, 0, { ...world, options }, random.fork());
    instances.push(instance);
    this.#judge().started(instance, options.overlapMs ?? 0);
    return instance;
  }

  #stop(instance: Instance): void {
    const { loop, story } = this.#options.world;
    if (instance.isStopping || instance.host.state === "dead") return;
    story.tell(instance.name, "SIGTERM");
    instance.isStopping = true;
    this.#judge().changed();
    loop.after(0, instance.host, () => instance.stop());
    loop.after(graceMs, undefined, () => instance.host.state !== "dead" && instance.kill());
  }

  /** The process is gone; its platform starts it again, unless it was to end. */
  #crash(instance: Instance): void {
    const { random, world } = this.#options;
    if (instance.host.state === "dead") return;
    world.story.tell(instance.name, "is gone");
    instance.kill();
    this.#judge().changed();
    if (instance.isStopping || this.#laptops.has(instance)) return;
    world.loop.after(random.between(500, 10_000), undefined, () => {
      // Ended meanwhile: by a deploy, or at the end of the story.
      if (!instance.isStopping && this.finaleAtMs === undefined) this.#start();
    });
  }

  #exit(instance: Instance): void {
    const { accuse, key, world } = this.#options;
    const calls = world.updates.isHandling(instance, key) ? 0 : instance.openCalls.size;
    const left = { timers: instance.clock.timers.size, calls };
    if (left.timers + left.calls > 0) {
      accuse("nothing is left after a stop", `${instance.name} leaves ${JSON.stringify(left)}`);
    }
    instance.kill();
  }

  /** The old instances get SIGTERM when they have lived beside the new one for so long. */
  #deploy(sideBySideMs: number): Instance {
    const { loop } = this.#options.world;
    const old = this.standing.filter((instance) => !this.#laptops.has(instance));
    const newcomer = this.#start();
    loop.after(sideBySideMs, undefined, () => {
      for (const instance of old) this.#stop(instance);
    });
    return newcomer;
  }

  /** Nothing goes wrong from here on: the last deploy is over, and the newest instance stays. */
  #heal(): void {
    const { key, world } = this.#options;
    for (const undo of this.#undo) undo();
    this.#undo.clear();
    world.story.tell("stage", "everything is healed");
    this.healedAtMs = world.loop.nowMs;
    for (const instance of this.standing.slice(0, -1)) this.#stop(instance);
    if (this.standing.length === 0) this.#start();
    world.telegram.push(key);
  }

  #perform(act: Act): void {
    const { world } = this.#options;
    world.story.tell("stage", `${act.kind}, ${Math.round(act.durationMs)} ms`);
    const undo = this.#do(act);
    if (!undo) return;
    const once = () => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    world.loop.after(act.durationMs, undefined, once);
  }

  /** Does what the act says; returns what undoes it. */
  #do({ durationMs, kind }: Act): (() => void) | undefined {
    const { random, world } = this.#options;
    const { loop, telegram } = world;
    const [eldest, newest] = [this.standing[0], this.standing.at(-1)];
    switch (kind) {
      case "deploy":
        if (this.standing.length < maxInstances) this.#deploy(durationMs);
        return undefined;
      case "failing deploy": {
        // It is not healthy: the platform keeps the old ones, and gives the new one up at last.
        const newcomer = this.#start();
        return () => this.#stop(newcomer);
      }
      case "another instance": {
        const other = this.#start();
        return () => this.#stop(other);
      }
      case "crash of the newest":
        if (newest) this.#crash(newest);
        return undefined;
      case "crash of the eldest":
        if (eldest) this.#crash(eldest);
        return undefined;
      case "laptop":
        return random.chance(0.5) ? this.#laptop() : this.#rival();
      case "rival":
        return this.#rival();
      case "telegram faults": {
        const faults = ["too-many-requests", "internal-error", "bad-gateway-html", "reset-before"] as const;
        const fault = telegram.api.injectFault({ kind: random.pick(faults), retryAfter: 2, times: null });
        return () => fault.remove();
      }
      case "restart telegram":
        telegram.api.shutDown();
        return () => telegram.api.restart();
    }
    const instance = random.pick(this.standing);
    if (!instance) return undefined;
    switch (kind) {
      case "slow telegram":
        instance.telegramPath.delay = { leastMs: 1, mostMs: 2_000 };
        return () => {
          instance.telegramPath.delay = undefined;
        };
      case "cut off from telegram":
        instance.telegramPath.passage = "lost";
        return () => {
          instance.telegramPath.passage = "open";
        };
      case "refuse at telegram":
        instance.isRefusedByTelegram = true;
        return () => {
          instance.isRefusedByTelegram = false;
        };
      case "freeze":
        loop.freeze(instance.host);
        return () => {
          loop.resume(instance.host);
          instance.resumedAtMs = loop.nowMs;
        };
    }
  }

  /** This library on a machine of which no overlap is known. */
  #laptop(): () => void {
    const laptop = this.#start({ ...this.#options.world.options, overlapMs: 0, startDelayMs: 0 });
    this.#laptops.add(laptop);
    return () => this.#stop(laptop);
  }

  /**
   * A poller without this library: polls again some time after each 409; some confirm what they have handled, and some
   * of those never wait at the server, nor poll with the same offset twice: they meet no 409, and cause none.
   */
  #rival(): () => void {
    const { key, random, world } = this.#options;
    const { loop, telegram, updates } = world;
    const retryMs = random.pick([5, 500, 3_000, 15_000]);
    const waits = random.chance(0.7);
    const confirms = !waits || random.chance(0.5);
    let offset = 0;
    let isGone = false;
    let turn = 0;
    let lastOffset = 0;
    const unwatch = telegram.api.onEvent((event) => {
      if (event.type === "poll") lastOffset = event.offset;
    });
    let isNews = false;
    let pending: { disconnect(): void } | undefined;
    const poll = () => {
      if (isGone) return;
      // The server makes a short poll wait whose offset is the last one again.
      turn = lastOffset === 0 ? 1 : 0;
      const args = new Map([
        ["timeout", waits ? "30" : "0"],
        ["offset", String(waits || (isNews && offset !== lastOffset) ? offset : turn)],
      ]);
      this.#judge().rivalPolled();
      const call = { token: telegram.tokenOf(key), method: "getUpdates", args, instance: "rival" };
      pending = telegram.api.call(call, (answer) => {
        if (answer === "reset" || answer.status !== 200) return void loop.after(retryMs, undefined, poll);
        const { updateIds = [] } = answer;
        if (isGone) return;
        isNews = updateIds.length > 0;
        if (confirms) {
          for (const id of updateIds) updates.handledElsewhere(id);
          offset = Math.max(offset, (updateIds.at(-1) ?? -1) + 1);
        }
        loop.after(confirms ? 40 + 20 * updateIds.length : 200, undefined, poll);
      });
    };
    poll();
    this.#judge().changed();
    return () => {
      isGone = true;
      unwatch();
      pending?.disconnect();
      this.#judge().changed();
    };
  }
}
