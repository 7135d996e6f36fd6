import { setTimeout as sleep } from "node:timers/promises";
import { type HolderArguments, holderHelp, parseHolderArguments } from "./arguments.js";
import { describeHolder } from "./finding.js";
import { holderFinding, type LockState, lookAtHolder } from "./holder-check.js";
import { openHeldLock } from "./lock-connection.js";
import type { Command } from "./run-command.js";

const lookEveryMs = 1_000;
const exitCodeOf: Readonly<Record<LockState["kind"], number>> = { held: 0, silent: 0, free: 1, unknown: 2 };

/** `grammy-safe-polling holder`: tells once, or whenever it has changed, until `signal` ends `--watch`. */
export function holder(signal: AbortSignal): Command<HolderArguments> {
  return {
    help: holderHelp,
    parse: parseHolderArguments,
    async run({ watch, json, ...options }, env, { print, printJson }) {
      const opened = await openHeldLock(options, env);
      const { choice, key } = opened;
      let { lock } = opened;
      try {
        let told: string | undefined;
        for (;;) {
          const state = await lookAtHolder(lock);
          const identity = identityOf(state);
          if (identity !== told) {
            const { code, message } = holderFinding(state, choice, key);
            const known = "holder" in state ? describeHolder(state.holder) : null;
            if (json) printJson({ v: 1, key, code, holder: known, message }, 0);
            else print(watch ? `${new Date().toISOString()} ${message}` : message);
          }
          told = identity;
          if (watch) await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
          if (!watch || signal.aborted) return exitCodeOf[state.kind];
          // The server may have been started again: then this connection is of no use any more.
          if (state.kind === "unknown") {
            await lock.close();
            ({ lock } = await openHeldLock(options, env).catch(() => ({ lock })));
          }
        }
      } finally {
        await lock.close();
      }
    },
  };
}

function identityOf(state: LockState): string {
  if (!("holder" in state)) return state.kind;
  const { owner, token, since } = state.holder;
  return [state.kind, owner, token, since].join(" ");
}
