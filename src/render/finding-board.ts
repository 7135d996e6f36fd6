import type { EventHub } from "../events.js";
import type { Logger } from "../logger.js";
import type { HealthFinding } from "../session/report.js";
import { identityOf, type RenderFinding, type RenderMonitorEvents } from "./findings.js";

interface Entry {
  readonly finding: RenderFinding;
  readonly since: Date;
  readonly lastSeenAt: Date;
}

/** What is wrong at present: tells what comes and what goes, once each. */
export class FindingBoard {
  readonly #hub: EventHub<RenderMonitorEvents>;
  readonly #logger: Logger;
  #entries = new Map<string, Entry>();

  constructor(hub: EventHub<RenderMonitorEvents>, logger: Logger) {
    this.#hub = hub;
    this.#logger = logger;
  }

  get findings(): readonly RenderFinding[] {
    return [...this.#entries.values()].map(({ finding }) => finding);
  }

  /** For the health of the handle. */
  report(): readonly HealthFinding[] {
    return [...this.#entries.values()].map(({ finding: { kind, summary }, since, lastSeenAt }) => ({
      source: "render",
      kind,
      summary,
      since,
      lastSeenAt,
    }));
  }

  /** All that was found at a look: what is not among it is gone. */
  replace(findings: readonly RenderFinding[], now: Date): void {
    const before = this.#entries;
    this.#entries = new Map();
    for (const finding of findings) this.#put(finding, before.get(identityOf(finding)), now);
    for (const [identity, { finding }] of before) {
      if (this.#entries.has(identity)) continue;
      this.#logger.info({ finding: finding.kind }, "found before, and gone now");
      this.#hub.emit("gone", finding);
    }
  }

  /** One more, beside what was found before. */
  add(finding: RenderFinding, now: Date): void {
    this.#put(finding, this.#entries.get(identityOf(finding)), now);
  }

  #put(finding: RenderFinding, known: Entry | undefined, now: Date): void {
    this.#entries.set(identityOf(finding), { finding, since: known?.since ?? now, lastSeenAt: now });
    if (known) return;
    this.#logger[finding.severity === "warning" ? "warn" : "info"](
      { finding: finding.kind },
      finding.summary,
    );
    this.#hub.emit("finding", finding);
  }
}
