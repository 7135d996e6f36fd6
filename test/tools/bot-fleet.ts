import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { SafePollingOptions } from "grammy-safe-polling";
import {
  type BotApiEmulator,
  type BotApiEmulatorOptions,
  type BotApiEvent,
  type EventOf,
  startBotApi,
} from "grammy-safe-polling/testing";
import { type RuntimeCommand, runtimeCommand } from "../runtimes/binaries.js";

/** Which lock the instances share. */
export type LockChoice =
  | { readonly kind: "none" }
  /** Of the process alone. */
  | { readonly kind: "memory" }
  /** No `lock` option; the state directory is the fleet's own. */
  | { readonly kind: "default" }
  | { readonly kind: "file"; readonly directory: string }
  | {
      readonly kind: "postgres";
      readonly options: {
        readonly connectionString: string;
        readonly leaseMs?: number;
        readonly mode?: "lease";
      };
    }
  | { readonly kind: "redis"; readonly options: { readonly url: string; readonly leaseMs?: number } }
  /** By a client of ioredis that asks Sentinel. */
  | { readonly kind: "redis sentinel"; readonly client: SentinelSettings; readonly leaseMs?: number };

/** Options of ioredis. */
interface SentinelSettings {
  readonly sentinels: Address[];
  readonly name: string;
  /** Where the servers that Sentinel names are reached. */
  readonly natMap: Record<string, Address>;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

/** What `bot-process.mjs` does. */
export interface Scenario {
  readonly apiRoot: string;
  readonly tokens: readonly string[];
  readonly lock: LockChoice;
  /** How it polls: by this library, by `bot.start()`, or by that again and again after each 409. @defaultValue "safe" */
  readonly way?: "safe" | "plain" | "rogue";
  /** So long after its first poll it has polled for a minute, by its own clock. */
  readonly agesAfterMs?: number;
  /** When the machine's monotonic clock began, in milliseconds since 1970. */
  readonly clockBeganAt: number;
  /** JSON only. */
  readonly options?: SafePollingOptions;
  /** How long a handler takes (or between what), and for how long it blocks the event loop, in milliseconds. */
  readonly handlerMs?: number | readonly [least: number, most: number];
  readonly blockMs?: number;
  /** One update of a chat after the other, by the runner's middleware. */
  readonly sequentializes?: boolean;
  readonly throws?: boolean;
  /** A handler tells its own process of the signal, without sending it. */
  readonly emits?: NodeJS.Signals;
  /** Whether the bot has a `bot.catch`. */
  readonly catches?: boolean;
  /** Installs auto-retry and the throttler on the bot. */
  readonly plugins?: boolean;
  /** Hears SIGTERM too, and raises it again after so long. */
  readonly raisesAgainMs?: number;
  /** Whether the app has a SIGTERM listener of its own, and how long that takes. */
  readonly appListens?: boolean;
  readonly appCleanupMs?: number;
  /** How long the code after `await polling.done` takes. */
  readonly cleanupMs?: number;
  /** Serves the health endpoints on a free port, which is printed as `health server`. */
  readonly serves?: boolean;
  /** For how long it blocks the event loop after that. */
  readonly cleanupBlockMs?: number;
  /** Something else that keeps the process alive. */
  readonly keepAlive?: boolean;
  /** Starts its bot again whenever it has stopped, whatever stopped it. */
  readonly restarts?: boolean;
  /** What runs it; by default what `BOT_RUNTIME` names ("bun", "deno", …), else this Node.js. */
  readonly runtime?: RuntimeCommand;
  /** A copy of `bot-process.mjs`, which finds another copy of the package. */
  readonly program?: string;
  /** Which promise the app awaits. */
  readonly watch?: "done" | "started" | "nothing";
  /** Prints every getUpdates before it is sent, and when the process stood still. */
  readonly isJudged?: boolean;
  /** It has a leading task, which goes on for so long when it is told to end. */
  readonly lingersMs?: number;
  /** How often a standby asks for the lock when nothing wakes it. @defaultValue the lock's own */
  readonly lockPollMs?: number;
  /** False: prints nothing of single updates. */
  readonly tellsUpdates?: boolean;
  /** Prints nothing of single bots. */
  readonly isQuiet?: boolean;
  /** False: the library's own logger. */
  readonly logs?: boolean;
}

/** One line that an instance printed. */
export interface Line {
  readonly event: string;
  /** Wall clock, in milliseconds. */
  readonly at: number;
  readonly [name: string]: unknown;
}

const programPath = fileURLToPath(new URL("./bot-process.mjs", import.meta.url));
const lineDeadlineMs = 30_000;
const pollDeadlineMs = 30_000;

const release = process.env.BOT_RUNTIME as Parameters<typeof runtimeCommand>[0] | undefined;
const defaultRuntime: RuntimeCommand = release ? runtimeCommand(release) : [process.execPath];

/** A running process of the bot. */
export class Instance {
  readonly name: string;
  readonly process: ChildProcess;
  readonly lines: Line[] = [];
  /** Everything that it printed, raw. */
  output = "";
  onLine: (line: Line) => void = () => {};
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #watchers = new Set<() => void>();

  constructor(
    name: string,
    program: string,
    scenario: object,
    env: NodeJS.ProcessEnv,
    runtime: RuntimeCommand = defaultRuntime,
  ) {
    this.name = name;
    const [binary, ...args] = runtime;
    this.process = spawn(binary, [...args, program, JSON.stringify(scenario)], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, ...env },
    });
    const { stdout, stderr } = this.process;
    if (!stdout || !stderr) throw new Error("no pipes");
    createInterface({ input: stdout }).on("line", (text) => this.#read(text));
    createInterface({ input: stderr }).on("line", (text) =>
      this.#add(text, { event: "stderr", at: Date.now(), text }),
    );
    this.exited = new Promise((resolve) => {
      this.process.once("close", (code, signal) => {
        for (const watcher of [...this.#watchers]) watcher();
        resolve({ code, signal });
      });
    });
  }

  /** Resolves with the first line, from `from` on, that fits; rejects when none comes in time. */
  async line(event: string, fields: object = {}, from = 0, deadlineMs = lineDeadlineMs): Promise<Line> {
    const find = () => this.lines.slice(from).find((line) => line.event === event && fits(line, fields));
    const found = find();
    if (found) return found;
    return new Promise((resolve, reject) => {
      const finish = () => {
        clearTimeout(timer);
        this.#watchers.delete(check);
      };
      const check = () => {
        const line = find();
        const hasEnded = this.process.exitCode !== null || this.process.signalCode !== null;
        if (line) {
          finish();
          resolve(line);
        } else if (hasEnded) {
          finish();
          reject(new Error(`${this.name} ended without ${event} ${JSON.stringify(fields)}:\n${this.output}`));
        }
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`${this.name} did not print ${event} ${JSON.stringify(fields)}:\n${this.output}`));
      }, deadlineMs);
      this.#watchers.add(check);
    });
  }

  state(state: string, from = 0): Promise<Line> {
    return this.line("state", { state }, from);
  }

  kill(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  tell(command: "stop" | "resign" | "ask" | "health" | "usage"): void {
    // It may have been killed a moment ago.
    this.process.send({ command }, () => {});
  }

  /** How long its handlers take from now on. */
  setHandlerMs(handlerMs: number): void {
    if (this.process.connected) this.process.send({ command: "take", handlerMs }, () => {});
  }

  #read(text: string): void {
    try {
      this.#add(text, JSON.parse(text) as Line);
    } catch {
      this.#add(text, { event: "text", at: Date.now(), text });
    }
  }

  #add(text: string, line: Line): void {
    this.output += `${text}\n`;
    this.lines.push(line);
    this.onLine(line);
    for (const watcher of [...this.#watchers]) watcher();
  }
}

function fits(line: Line, fields: object): boolean {
  return Object.entries(fields).every(([name, value]) =>
    value instanceof RegExp ? value.test(String(line[name])) : line[name] === value,
  );
}

/** Starts a process of the bot. */
export function startBot(
  name: string,
  scenario: Omit<Scenario, "clockBeganAt">,
  env: NodeJS.ProcessEnv = {},
): Instance {
  const clockBeganAt = performance.timeOrigin + performance.now() - Number(process.hrtime.bigint()) / 1e6;
  const program = scenario.program ?? programPath;
  return new Instance(name, program, { ...scenario, clockBeganAt }, env, scenario.runtime);
}

/** Messages that come in all the time. */
export interface Traffic {
  /** How many have come so far. */
  readonly messages: number;
  stop(): void;
}

/** A Bot API server and instances of one bot on one lock, cleaned up together. */
export class BotFleet implements AsyncDisposable {
  readonly api: BotApiEmulator;
  readonly lock: LockChoice;
  readonly instances: Instance[] = [];
  readonly #directory: string;

  private constructor(api: BotApiEmulator, directory: string, lock: LockChoice) {
    this.api = api;
    this.#directory = directory;
    this.lock = lock;
  }

  static async start(lock?: LockChoice, options?: BotApiEmulatorOptions): Promise<BotFleet> {
    const directory = mkdtempSync(join(tmpdir(), "gsp-"));
    const api = await startBotApi(options);
    return new BotFleet(api, directory, lock ?? { kind: "file", directory: join(directory, "locks") });
  }

  /** Where instances with the default lock keep it. */
  get stateDirectory(): string {
    return join(this.#directory, "state");
  }

  get token(): string {
    return this.api.bot.token;
  }

  /** Starts a process of the bot. */
  instance(name: string, scenario: Partial<Scenario> = {}): Instance {
    const complete = {
      apiRoot: this.api.urlFor(name),
      tokens: [this.token],
      lock: this.lock,
      ...scenario,
      options: { startDelayMs: 0, ...scenario.options },
    };
    return this.#added(startBot(name, complete, this.#env));
  }

  /** The same; resolves when it polls. */
  async poller(name: string, scenario: Partial<Scenario> = {}): Promise<Instance> {
    const instance = this.instance(name, scenario);
    await instance.state("polling");
    return instance;
  }

  /** Starts another program, which gets its scenario as JSON in the first argument. */
  run(name: string, program: string, scenario: object, runtime?: RuntimeCommand): Instance {
    return this.#added(new Instance(name, program, scenario, this.#env, runtime));
  }

  get #env(): NodeJS.ProcessEnv {
    return { STATE_DIRECTORY: this.stateDirectory };
  }

  #added(instance: Instance): Instance {
    this.instances.push(instance);
    return instance;
  }

  /** getUpdates calls that an instance has sent. */
  polls(instance: Instance): EventOf<"poll">[] {
    return this.api.events.filter(
      (event): event is EventOf<"poll"> & BotApiEvent =>
        event.type === "poll" && event.instance === instance.name,
    );
  }

  /** Resolves when an instance has sent a poll that the server has parked or answered. */
  async polling({ name }: Instance): Promise<void> {
    await this.api.waitForEvent("poll", ({ instance }) => instance === name, { timeoutMs: pollDeadlineMs });
  }

  /** 409s that a live instance got. */
  get live409s(): number {
    return Object.values(this.api.counters().conflicts).reduce((sum, { live }) => sum + live, 0);
  }

  push(text: string, chatId = 1): number {
    return this.api.pushMessage(this.api.bot.id, text, { chatId }) as number;
  }

  /**
   * Sends messages every so often until it is stopped, from one chat after the other. What a busy machine sends late,
   * it sends all the same.
   */
  startTraffic(everyMs: number, { chats = 1, atOnce = 1 } = {}): Traffic {
    const startedAt = performance.now();
    let messages = 0;
    const send = () => {
      const due = Math.floor((performance.now() - startedAt) / everyMs) * atOnce;
      while (messages < due) {
        messages += 1;
        this.push(`message ${messages}`, 1 + (messages % chats));
      }
    };
    const timer = setInterval(send, everyMs);
    return {
      get messages() {
        return messages;
      },
      stop: () => clearInterval(timer),
    };
  }

  /** Ends everything, then looks through all that was printed: no bot's token may be in it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process } of this.instances) {
      process.kill("SIGCONT");
      process.kill("SIGKILL");
    }
    await Promise.all(this.instances.map((instance) => instance.exited));
    const secrets = this.api.bots.map(({ token }) => token.split(":")[1] ?? token);
    await this.api.stop();
    rmSync(this.#directory, { recursive: true, force: true });
    for (const { name, output } of this.instances) {
      if (secrets.some((secret) => output.includes(secret)))
        throw new Error(`${name} printed a token:\n${output}`);
    }
  }
}

/** Resolves when `check` is true, asked again whenever the emulator records something; rejects after `deadlineMs`. */
export function until(
  api: BotApiEmulator,
  what: string,
  check: () => boolean,
  deadlineMs = 30_000,
): Promise<void> {
  if (check()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`${what}: not within ${deadlineMs} ms; ${JSON.stringify(api.counters())}`));
    }, deadlineMs);
    const stop = api.onEvent(() => {
      if (!check()) return;
      clearTimeout(timer);
      stop();
      resolve();
    });
  });
}
