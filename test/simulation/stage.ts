import { isSafePollingError } from "../../src/errors.js";
import type { Host } from "./event-loop.js";
import { type Handle, Instance, type LockedWorld } from "./instance.js";
import type { Passage, Path } from "./path.js";
import { type Act, isPlanned, type Plot } from "./plot.js";
import type { Random } from "./random.js";
import type { Accuse } from "./story.js";

export interface StageOptions {
  readonly plot: Plot;
  readonly world: LockedWorld;
  readonly instances: Instance[];
  readonly random: Random;
  readonly accuse: Accuse;
}

/** A platform kills a process that has not ended this long after SIGTERM, in milliseconds. */
const graceMs = 30_000;
const maxInstances = 4;

/** Lets the acts of a plot happen, starts and ends instances as a platform does, and heals everything at the end. */
export class Stage {
  readonly #options: StageOptions;
  readonly #undo = new Set<() => void>();
  /** Handlers that hang. */
  readonly #hanging = new Set<() => void>();
  #started = 0;
  #asks = 0;
  /** Everything is healed; since when. */
  healedAtMs: number | undefined;
  /** All were told to stop; since when. */
  finaleAtMs: number | undefined;
  isOver = false;
  /** Never reaches Telegram again. */
  outcast: Instance | undefined;

  constructor(options: StageOptions) {
    this.#options = options;
  }

  /** Instances whose processes live and were not told to stop. */
  get standing(): Instance[] {
    return this.#options.instances.filter(({ host, isStopping }) => host.state !== "dead" && !isStopping);
  }

  prepare(): void {
    const { plot, world } = this.#options;
    const { loop, telegram, keys } = world;
    for (const atMs of plot.startsMs) loop.after(atMs, undefined, () => this.#start());
    for (const atMs of plot.updatesMs) {
      loop.after(atMs, undefined, () => telegram.push(this.#options.random.pick(keys)));
    }
    for (const act of plot.acts) loop.after(act.atMs, undefined, () => this.#perform(act));
    const snapshotAt = plot.acts.find(({ kind }) => kind === "restart lock server with old data");
    if (snapshotAt) {
      const atMs = snapshotAt.atMs - plot.leaseMs * this.#options.random.between(0, 0.5);
      loop.after(atMs, undefined, () => world.locks.model.snapshot());
    }
    loop.after(plot.healedMs, undefined, () => this.#heal());
  }

  untilHealed(host: Host): Promise<void> {
    const { loop } = this.#options.world;
    if (this.healedAtMs !== undefined) return Promise.resolve();
    return new Promise((resolve) => this.#hanging.add(() => loop.after(0, host, resolve)));
  }

  /** As a bot with a command for it would do; the platform starts another process. */
  async stopFromHandler(instance: Instance, handle: Handle): Promise<void> {
    const { random, world } = this.#options;
    if (this.healedAtMs !== undefined || instance.isStopping) return;
    world.story.tell(instance.name, "stops in a handler");
    this.#expectEnd(instance);
    world.loop.after(random.between(100, 2_000), undefined, () => this.#start());
    const others = instance.handles.filter((other) => other !== handle);
    for (const { session } of others) void session.stop();
    await handle.session.stop();
  }

  /** A handle's `done` has settled: the process ends when it rejected, or when all of its handles have stopped. */
  done(instance: Instance, key: string, error: unknown): void {
    const { accuse, plot, random, world } = this.#options;
    world.story.tell(instance.name, `${key} is done${error === undefined ? "" : `: ${error}`}`);
    if (error !== undefined) {
      const isExpected =
        isSafePollingError(error, "ERR_CONFLICT") || isSafePollingError(error, "ERR_WEBHOOK_ACTIVE");
      const hasRivals = plot.acts.some(({ kind }) => kind === "rogue" || kind === "set webhook");
      if (!isExpected || !hasRivals) accuse("no end without a reason", `${instance.name}: ${error}`);
      instance.kill();
      world.loop.after(random.between(100, 2_000), undefined, () => this.#start());
      return;
    }
    if (!instance.isStopping)
      accuse("no end without a reason", `${instance.name} stopped though nobody asked`);
    if (!instance.handles.every(({ isDone }) => isDone)) return;
    // What a process that has stopped leaves behind would keep it alive, or act after its end.
    world.loop.after(5, instance.host, () => this.#exit(instance));
  }

  finale(): void {
    const { random, world } = this.#options;
    this.finaleAtMs = world.loop.nowMs;
    for (const instance of this.standing) {
      world.loop.after(random.between(0, 50), undefined, () => this.#stop(instance));
    }
  }

  end(): void {
    this.isOver = true;
    this.#options.world.loop.end();
  }

  #exit(instance: Instance): void {
    const { accuse, world } = this.#options;
    const isHandling = world.keys.some((key) => world.updates.isHandling(instance, key));
    const left = {
      timers: instance.clock.timers.size,
      connections: instance.connections.size,
      calls: isHandling ? 0 : instance.openCalls.size,
    };
    if (left.timers + left.connections + left.calls > 0) {
      accuse("nothing is left after a stop", `${instance.name} leaves ${JSON.stringify(left)}`);
    }
    instance.kill();
  }

  #start(): void {
    const { instances, random, world } = this.#options;
    if (this.finaleAtMs !== undefined) return;
    this.#started += 1;
    const name = `i${this.#started}`;
    world.story.tell(name, "starts");
    const { priorities } = this.#options.plot.asks;
    const priority = priorities[(this.#started - 1) % priorities.length] ?? 0;
    instances.push(new Instance(name, priority, world, random.fork()));
  }

  #stop(instance: Instance): void {
    const { random, world } = this.#options;
    const { loop, story } = world;
    if (instance.isStopping || instance.host.state === "dead") return;
    // A frozen process gets it when it goes on; the platform counts from now.
    this.#expectEnd(instance);
    story.tell(instance.name, "SIGTERM");
    loop.after(0, instance.host, () => instance.stop());
    // Some senders repeat it.
    const againMs = random.between(0, 900);
    if (random.chance(0.3)) loop.after(againMs, instance.host, () => instance.stop());
  }

  #expectEnd(instance: Instance): void {
    const { loop } = this.#options.world;
    instance.isStopping = true;
    loop.after(graceMs, undefined, () => instance.host.state !== "dead" && instance.kill());
  }

  /** Nothing goes wrong from here on. */
  #heal(): void {
    const { loop, story, telegram, keys } = this.#options.world;
    for (const undo of this.#undo) undo();
    this.#undo.clear();
    story.tell("stage", "everything is healed");
    this.healedAtMs = loop.nowMs;
    this.#options.world.locks.isCalm = true;
    for (const end of this.#hanging) end();
    if (this.#options.plot.hasLastingOutage) this.#outcast();
    if (this.standing.filter((instance) => instance !== this.outcast).length === 0) this.#start();
    for (const key of keys) telegram.push(key);
  }

  #outcast(): void {
    const { random, world } = this.#options;
    const holder = this.#holder(random.pick(world.keys));
    if (!holder || holder.isStopping) return;
    world.story.tell(holder.name, "is cut off from Telegram for ever");
    this.outcast = holder;
    holder.isRefusedByTelegram = true;
  }

  #perform(act: Act): void {
    const { world } = this.#options;
    const instance = this.#aim(act.aim);
    const who = instance?.name ?? "nobody";
    world.story.tell(
      "stage",
      `${act.kind}: ${who}${isPlanned(act.kind) ? "" : `, ${Math.round(act.durationMs)} ms`}`,
    );
    const undo = this.#do(act, instance);
    if (!undo) return;
    const once = () => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    world.loop.after(act.durationMs, undefined, () => {
      if (this.#undo.has(once)) world.story.tell("stage", `end of ${act.kind}: ${who}`);
      once();
    });
  }

  /** Does what the act says; returns what undoes it. */
  #do(act: Act, instance: Instance | undefined): (() => void) | undefined {
    const { world } = this.#options;
    if (act.kind === "start" && this.standing.length < maxInstances) this.#start();
    const worldly = this.#toServers(act);
    if (worldly || !instance) return worldly;
    const { loop, keys } = world;
    const { random } = this.#options;
    switch (act.kind) {
      case "stop":
        this.#stop(instance);
        return undefined;
      case "resign": {
        const key = random.pick(keys);
        const handle = instance.handles.find((candidate) => candidate.key === key);
        if (!handle) return undefined;
        loop.after(0, instance.host, () => {
          handle.resignedAt = loop.nowMs;
          void handle.session.resign();
        });
        return undefined;
      }
      case "kill":
        instance.kill();
        return undefined;
      case "freeze":
        return this.#freeze(instance);
      case "sleep": {
        const resume = this.#freeze(instance);
        instance.clock.fallAsleep();
        return () => {
          instance.clock.wakeUp();
          resume();
        };
      }
      case "step wall clock": {
        // A clock that is set back around a sleep fools both clocks at once: not promised.
        const mayGoBack = !this.#options.plot.acts.some(({ kind }) => kind === "sleep");
        instance.clock.stepWall(
          random.pick(mayGoBack ? [-3_600_000, -1_000, 500, 3_600_000] : [500, 3_600_000]),
        );
        return undefined;
      }
      case "lose lock requests":
        return block(instance.lockPath.requests, "lost");
      case "lose lock answers":
        return block(instance.lockPath.answers, "lost");
      case "lose both":
        return block(instance.lockPath, "lost");
      case "hold lock messages":
        return block(instance.lockPath, "held");
      case "slow lock":
        return slow(instance.lockPath, this.#options.plot.leaseMs * 0.3);
      case "cut off from telegram":
        return block(instance.telegramPath, "lost");
      case "hold telegram messages":
        return block(instance.telegramPath, "held");
      case "lose telegram answers":
        return block(instance.telegramPath.answers, "lost");
      case "slow telegram":
        return slow(instance.telegramPath, 2_000);
      case "refuse at telegram":
        instance.isRefusedByTelegram = true;
        return () => {
          instance.isRefusedByTelegram = instance === this.outcast;
        };
      default:
        return undefined;
    }
  }

  /** What happens to the servers, or to all. */
  #toServers(act: Act): (() => void) | undefined {
    const { random, world } = this.#options;
    const { locks, loop, telegram, leases, keys } = world;
    const isSessionLock = locks.model.diesWithConnection;
    switch (act.kind) {
      case "break lock connections":
        if (isSessionLock) leases.forgot(keys);
        locks.breakConnections();
        return undefined;
      case "restart lock server":
        if (isSessionLock) leases.forgot(keys);
        locks.restart("kept", act.durationMs);
        return undefined;
      case "restart lock server with old data":
        leases.forgot(keys);
        locks.restart("old", act.durationMs);
        return undefined;
      case "restart lock server without data":
        leases.forgot(keys);
        locks.restart("none", act.durationMs);
        return undefined;
      case "freeze lock server":
        loop.freeze(locks.host);
        return () => loop.resume(locks.host);
      case "set lock server clock back":
        locks.wallOffsetMs -= random.pick([1_000, 60_000, 3_600_000]);
        return undefined;
      case "forget a key": {
        // Session locks: whoever held it is disconnected, so all of its keys are gone.
        if (isSessionLock) leases.forgot(keys);
        const key = random.pick(keys);
        leases.forgot([key]);
        locks.model.forget(key);
        return undefined;
      }
      case "name a standby as holder": {
        const key = random.pick(keys);
        const owners = [...locks.connections].map(({ owner }) => owner);
        if (owners.length === 0 || !locks.model.nameHolder) return undefined;
        leases.forgot([key]);
        locks.model.nameHolder(key, random.pick(owners));
        return undefined;
      }
      case "ask by hand": {
        const key = random.pick(keys);
        this.#asks += 1;
        const token = random.pick([undefined, locks.model.tokenOf?.(key), locks.model.tokenOf?.(key)]);
        const request = { id: `by hand ${this.#asks}`, instance: "by hand" };
        locks.carry(key, {
          ...request,
          ...(token !== undefined && { token: token - random.pick([0, 0, 1]) }),
        });
        return undefined;
      }
      case "telegram faults":
        return this.#injectFaults();
      case "restart telegram":
        telegram.api.shutDown();
        return () => telegram.api.restart();
      case "freeze telegram":
        loop.freeze(telegram.host);
        return () => loop.resume(telegram.host);
      case "rogue":
        return this.#rogue(random.pick([0, 500, 3_000]));
      case "set webhook": {
        const args = new Map([["url", "https://example.org/hook"]]);
        const token = telegram.tokenOf(random.pick(keys));
        telegram.api.call({ token, method: "setWebhook", args, instance: "somebody" }, () => {});
        return undefined;
      }
      default:
        return undefined;
    }
  }

  #freeze(instance: Instance): () => void {
    const { random, world } = this.#options;
    const { loop, story } = world;
    loop.freeze(instance.host);
    return () => {
      // What a process finds when it wakes up: its timers first, or what came in.
      const isReversed = random.chance(0.5);
      loop.resume(instance.host, (backlog) => (isReversed ? [...backlog].reverse() : backlog));
      if (instance.host.state !== "running") return;
      story.tell(instance.name, "goes on");
      instance.resumedAtMs = loop.nowMs;
    };
  }

  #injectFaults(): () => void {
    const { random, world } = this.#options;
    const kind = random.pick([
      "too-many-requests",
      "internal-error",
      "bad-gateway",
      "bad-gateway-html",
      "not-found-html",
      "reset-before",
      "reset-after",
    ] as const);
    const fault = world.telegram.api.injectFault({ kind, retryAfter: 2, times: null });
    return () => fault.remove();
  }

  /** A poller that knows no lock: polls again some time after each 409, and confirms nothing. */
  #rogue(retryMs: number): () => void {
    const { random, world } = this.#options;
    const { loop, telegram } = world;
    const token = telegram.tokenOf(random.pick(world.keys));
    let isGone = false;
    const poll = () => {
      if (isGone) return;
      const args = new Map([["timeout", "30"]]);
      telegram.api.call({ token, method: "getUpdates", args, instance: "rogue" }, (answer) => {
        const isConflict = answer !== "reset" && answer.status === 409;
        loop.after(isConflict ? Math.max(5, retryMs) : 200, undefined, poll);
      });
    };
    poll();
    return () => {
      isGone = true;
    };
  }

  /** The holder of some key more often than not. */
  #aim(aim: number): Instance | undefined {
    const living = this.#options.instances.filter(({ host }) => host.state !== "dead");
    const holder = this.#holder(this.#options.random.pick(this.#options.world.keys));
    return aim < 0.65 && holder ? holder : living[Math.floor(aim * 1_000) % living.length];
  }

  #holder(key: string): Instance | undefined {
    const owner = this.#options.world.locks.model.holderOf(key);
    return this.#options.instances.find(
      ({ name, host }) => owner?.startsWith(`${name}:`) && host.state !== "dead",
    );
  }
}

function block(lane: { passage: Passage } | Path, how: Passage): () => void {
  lane.passage = how;
  return () => {
    lane.passage = "open";
  };
}

function slow(path: Path, mostMs: number): () => void {
  path.delay = { leastMs: 1, mostMs };
  return () => {
    path.delay = undefined;
  };
}
