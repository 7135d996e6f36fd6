import { setTimeout as sleep } from "node:timers/promises";
import type { Patience } from "../demo/patience.js";
import { count } from "../demo/text.js";
import { links } from "./links.js";
import type { Counters, Link, LockKind } from "./protocol.js";
import type { Run } from "./run.js";

/** Where a story is played. */
interface Stage {
  readonly run: Run;
  readonly patience: Patience;
  /** Lets the audience watch, in milliseconds. */
  watch(ms: number): Promise<void>;
}

/** One sentence on the page, and what happens meanwhile. */
interface Step {
  readonly sentence: (run: Run) => string;
  readonly link: Link;
  readonly play: (stage: Stage) => Promise<void>;
}

export interface Story {
  readonly id: string;
  readonly title: string;
  readonly teaser: string;
  /** The best one that is there is taken. */
  readonly locks: readonly LockKind[];
  readonly messagesPerSecond: number;
  readonly handlerMs: number;
  /** Their `priority` is the number of the version. */
  readonly newestFirst?: boolean;
  readonly steps: readonly Step[];
}

const graceMs = 30_000;
/** How long the last messages may take to be answered. */
const lastAnswersMs = 15_000;
const lookEveryMs = 50;

/** How every story ends: nothing new comes in, and the counters stand still. */
const ending: readonly Step[] = [
  {
    sentence: () => "No more messages come in. What still waits is answered.",
    link: links.guarantees,
    async play({ run, patience, watch }) {
      run.traffic.messagesPerSecond = 0;
      await patience.for("the last messages are answered", settled(run));
      await watch(1_500);
    },
  },
  { sentence: verdict, link: links.guarantees, play: async () => {} },
];

const renderDeploy: Story = {
  id: "deploy",
  title: "A Render deploy",
  teaser: "The new version starts beside the old one; both run for a minute.",
  locks: ["postgres", "redis", "file"],
  messagesPerSecond: 5,
  handlerMs: 40,
  steps: [
    {
      sentence: () =>
        "Version 1 of the bot runs in both lanes, on the same messages. Each dot is a message; it travels to the instance that answers it.",
      link: links.howItWorks,
      play: ({ watch }) => watch(5_000),
    },
    {
      sentence: () =>
        "Render starts version 2. Above, it polls at once: Telegram ends the poll of version 1 with a 409, and grammY gives up. Below, it finds the lock taken and stands by, healthy.",
      link: links.conflict,
      async play({ run, watch }) {
        await Promise.all(run.both.map((lane) => lane.healthy(lane.start())));
        await watch(6_000);
      },
    },
    {
      sentence: () =>
        "For 60 seconds (shortened here) Render lets both run. Above, they end each other's polls, crash and start again. Below, nothing happens.",
      link: links.deploy,
      play: ({ watch }) => watch(6_000),
    },
    {
      sentence: () =>
        "Render ends version 1 with SIGTERM. Below, it lets its handlers end, tells Telegram what is done, and releases the lock: version 2 polls at once.",
      link: links.deploy,
      async play(stage) {
        const { run, patience, watch } = stage;
        await terminate(stage, "v1");
        await patience.for("version 2 polls", run.lanes.safe.named("v2").reaches("polling"));
        await watch(5_000);
      },
    },
    ...ending,
  ],
};

const redisOutage: Story = {
  id: "redis",
  title: "The server room loses Redis",
  teaser: "Two servers run the bot. The lock server dies, and comes back.",
  locks: ["redis"],
  messagesPerSecond: 5,
  handlerMs: 40,
  steps: [
    {
      sentence: () =>
        "Two servers run the bot, in case one fails. Above, both poll, so they keep ending each other's polls. Below, one polls and the other stands by.",
      link: links.conflict,
      async play({ run, watch }) {
        await Promise.all(run.both.map((lane) => lane.healthy(lane.add())));
        await watch(6_000);
      },
    },
    {
      sentence: ({ lockServer: { choice } }) =>
        `Redis is killed. The holder of the lock polls on as long as it can prove its lease by its own clock: up to ${leaseSeconds(choice, 0.7)} s.`,
      link: links.redis,
      async play({ run, patience }) {
        const holder = run.lanes.safe.poller;
        await run.lockServer.kill();
        run.changed();
        if (holder)
          await patience.for("the holder stops polling", holder.reaches("standby", "starting", "draining"));
      },
    },
    {
      sentence: () =>
        "Now it cannot prove it any longer, so it stops before anybody else could be granted the lock. Below, nobody polls; the messages wait at Telegram.",
      link: links.redis,
      play: ({ watch }) => watch(4_000),
    },
    {
      sentence: () =>
        "Redis is back, empty. The last holder may claim the lock at once; anyone else would wait for one lease. What has waited is answered, in order.",
      link: links.redis,
      async play({ run, patience, watch }) {
        await run.lockServer.restart();
        run.changed();
        await patience.for("one instance polls again", polls(run));
        await watch(4_000);
      },
    },
    ...ending,
  ],
};

const laptop: Story = {
  id: "laptop",
  title: "Somebody runs the bot on a laptop",
  teaser: "The live bot's token is in .env, and somebody types npm start.",
  locks: ["postgres", "redis", "file"],
  messagesPerSecond: 5,
  handlerMs: 40,
  steps: [
    {
      sentence: () => "The bot runs in production, in both lanes, on the same messages.",
      link: links.howItWorks,
      play: ({ watch }) => watch(4_000),
    },
    {
      sentence: ({ lockKind }) =>
        `Somebody starts the same code on a laptop, with the token of the live bot${lockKind === "file" ? "" : " and the address of its lock"}. Above, the laptop takes the poll away from production. Below, it stands by and says who holds the lock.`,
      link: links.conflict,
      async play({ run, watch }) {
        await Promise.all(run.both.map((lane) => lane.healthy(lane.start("laptop"))));
        await watch(8_000);
      },
    },
    {
      sentence: () =>
        "Ctrl+C on the laptop. Above, even the goodbye of bot.stop() is a getUpdates that can hit production. Below, a standby leaves without a word to Telegram.",
      link: links.conflict,
      async play(stage) {
        await terminate(stage, "laptop");
        await stage.watch(5_000);
      },
    },
    ...ending,
  ],
};

const withoutDatabase: Story = {
  id: "no-lock",
  title: "Render, no database",
  teaser: "Nothing is shared, so nothing can exclude. The newcomer stays, the elder gives way.",
  locks: ["none"],
  messagesPerSecond: 5,
  handlerMs: 40,
  steps: [
    {
      sentence: () =>
        "Version 1 of the bot has run for a minute in both lanes (below, its clock is put forward). There is no database, and no lock: nothing tells one version of the other.",
      link: links.noLock,
      play: ({ watch }) => watch(4_000),
    },
    {
      sentence: () =>
        "Render starts version 2. Above, the two end each other's polls. Below, version 2 looks in first: what version 1 is handling it leaves alone. Version 1 sees it by a single 409 and leaves it the bot.",
      link: links.noLock,
      async play({ run, patience, watch }) {
        const { plain, safe } = run.lanes;
        safe.start();
        await Promise.all([
          plain.healthy(plain.start()),
          patience.for("version 1 gives way", safe.named("v1").reaches("conflict")),
        ]);
        await watch(2_000);
      },
    },
    {
      sentence: () =>
        "For 75 seconds (a tenth of it here) Render lets both run. Above, they crash and start again. Below, version 1 polls no more and waits for its SIGTERM.",
      link: links.noLock,
      play: ({ watch }) => watch(4_500),
    },
    {
      sentence: () =>
        "Render ends version 1 with SIGTERM. Below, it has nothing left to do and ends at once; version 2 has polled all the time.",
      link: links.deploy,
      async play(stage) {
        await terminate(stage, "v1");
        await stage.watch(4_000);
      },
    },
    ...ending,
  ],
};

const newestFirst: Story = {
  id: "priority",
  title: "The newest release polls",
  teaser: "It takes over while the old one lives, crashes, and the old one is back.",
  locks: ["postgres", "redis", "file"],
  messagesPerSecond: 5,
  handlerMs: 40,
  newestFirst: true,
  steps: [
    {
      sentence: () =>
        "Version 1 runs in both lanes. Below, each version passes its build number as priority: 1 for this one.",
      link: links.priority,
      play: ({ watch }) => watch(4_000),
    },
    {
      sentence: () =>
        "Version 2 starts, and nobody ends version 1. Above, the two end each other's polls. Below, version 2 stands by; when it has been ready for 5 s, it asks version 1 to hand over.",
      link: links.priority,
      async play({ run, patience }) {
        const { plain, safe } = run.lanes;
        const fresh = safe.start();
        await Promise.all([
          plain.healthy(plain.start()),
          patience.for("version 2 polls", fresh.reaches("polling")),
        ]);
      },
    },
    {
      sentence: () =>
        "Version 1 has let its handlers end, told Telegram what is done, and given the lock back. It stands by now: alive, in case version 2 is no good.",
      link: links.priority,
      play: ({ watch }) => watch(4_000),
    },
    {
      sentence: () =>
        "Version 2 is gone with its machine. Below, version 1 is granted the lock as after any crash, and polls again: the release is rolled back by itself.",
      link: links.guarantees,
      async play({ run, patience, watch }) {
        for (const lane of run.both) lane.lose(lane.named("v2"));
        await patience.for("version 1 polls again", run.lanes.safe.named("v1").reaches("polling"));
        await watch(4_000);
      },
    },
    ...ending,
  ],
};

export const stories: readonly Story[] = [renderDeploy, redisOutage, laptop, withoutDatabase, newestFirst];

/** SIGTERM to an instance of each lane. Resolves when both have ended. */
async function terminate({ run, patience }: Stage, name: string): Promise<void> {
  const ending = run.both.map((lane) => {
    const instance = lane.named(name);
    lane.terminate(instance, graceMs);
    return instance.over();
  });
  await patience.for(`${name} ends`, Promise.all(ending));
}

/** One sentence: what the counters mean. */
function verdict({ lanes }: Run): string {
  const { lastSwitch } = lanes.safe.counters;
  const switched = lastSwitch ? `; ${lastSwitch.kind} in ${Math.round(lastSwitch.ms)} ms` : "";
  return `Plain grammY: ${damage(lanes.plain.counters)}. With grammy-safe-polling: ${damage(lanes.safe.counters)}${switched}.`;
}

function damage({ conflicts, crashes, twice, lost }: Counters): string {
  return `${count(conflicts, "409")}, ${count(crashes, "crash", "crashes")}, ${twice} answered twice, ${lost} lost`;
}

function leaseSeconds(choice: Run["lockServer"]["choice"], share: number): number {
  return choice.kind === "redis" ? ((choice.options.leaseMs ?? 0) * share) / 1_000 : 0;
}

/** Resolves when an instance of the lane with a lock polls. */
async function polls({ lanes }: Run): Promise<void> {
  await Promise.race(lanes.safe.running.map((instance) => instance.reaches("polling")));
}

/** Resolves when everything is answered, or will not be any more. */
async function settled({ both }: Run): Promise<void> {
  const isSettled = () => both.every(({ counters }) => counters.answered + counters.lost === counters.pushed);
  const deadline = performance.now() + lastAnswersMs;
  while (!isSettled() && performance.now() < deadline) await sleep(lookEveryMs);
}
