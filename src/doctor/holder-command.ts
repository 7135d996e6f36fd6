import { setTimeout as sleep } from "node:timers/promises";
import { holderHelp, parseHolderArguments } from "./arguments.js";
import { describeHolder } from "./command.js";
import { frozenFinding, holderFinding, type LockState, lookAtHolder } from "./holder-check.js";
import type { LockChoice } from "./lock-choice.js";
import type { OpenLock } from "./lock-connection.js";
import { openHeldLock } from "./open-held-lock.js";
import { type DiscreetTerminal, type Environment, runCommand, type Terminal } from "./run-command.js";

const lookEveryMs = 1_000;
const exitCodeOf: Readonly<Record<LockState["kind"], number>> = { held: 0, silent: 0, free: 1, unknown: 2 };

/** Runs `grammy-safe-polling holder`; resolves with the exit code and never rejects. `signal` ends `--watch`. */
export function holder(
  given: readonly string[],
  environment: Environment,
  anyTerminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  return runCommand(given, environment, anyTerminal, async (terminal) => {
    const options = parseHolderArguments(given);
    if (options.help) {
      terminal.print(holderHelp);
      return 0;
    }
    const { lock, choice, key } = await openHeldLock(options, environment);
    try {
      return await tell(lock, choice, key, { ...options, terminal, signal });
    } finally {
      await lock.close();
    }
  });
}

interface Telling {
  readonly watch: boolean;
  readonly json: boolean;
  readonly terminal: DiscreetTerminal;
  readonly signal: AbortSignal;
}

/** Once, or whenever it has changed. */
async function tell(
  lock: OpenLock,
  choice: LockChoice,
  key: string,
  { watch, json, terminal, signal }: Telling,
): Promise<number> {
  let told: string | undefined;
  for (;;) {
    const state = await lookAtHolder(lock);
    const identity = identityOf(state);
    if (identity !== told) {
      const frozen = state.kind === "held" ? frozenFinding(choice, key, state.holder) : undefined;
      const { code, message } = frozen ?? holderFinding(state, key);
      const known = "holder" in state ? describeHolder(state.holder) : null;
      if (json) terminal.printJson({ v: 1, key, code, holder: known, message }, 0);
      else terminal.print(watch ? `${new Date().toISOString()} ${message}` : message);
    }
    told = identity;
    if (!watch || signal.aborted) return exitCodeOf[state.kind];
    await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return exitCodeOf[state.kind];
  }
}

function identityOf(state: LockState): string {
  if (!("holder" in state)) return state.kind;
  const { owner, token, since } = state.holder;
  return [state.kind, owner, token, since].join(" ");
}
