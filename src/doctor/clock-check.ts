import { duration, type Finding } from "./finding.js";

/** More than the network and a Date header in whole seconds explain, in milliseconds. */
const toleranceMs = 5_000;

/** How far other clocks are ahead of this machine's, in milliseconds. Undefined: not known. */
export interface ClockDifferences {
  readonly telegramMs: number | undefined;
  readonly lockMs: number | undefined;
}

/**
 * No promise of the lock rests on clocks that agree: it goes by the lock server's alone. A clock that is wrong
 * still breaks TLS, and misleads whoever reads logs and `since`.
 */
export function clockFinding({ telegramMs, lockMs }: ClockDifferences): Finding {
  const check = "clock";
  if (telegramMs === undefined && lockMs === undefined) {
    return { check, status: "skipped", code: "no-answer", message: "There was no clock to compare with." };
  }
  const off = [describe(telegramMs, "Telegram's"), describe(lockMs, "the lock server's")].filter(Boolean);
  if (off.length === 0) return { check, status: "ok", code: "in-step", message: "The clocks agree." };
  return {
    check,
    status: "warning",
    code: "off",
    message: `This machine's clock is ${off.join(" and ")}. The lock does not mind; certificates and logs do.`,
    fix: "Switch on NTP where the clock is wrong.",
  };
}

function describe(aheadMs: number | undefined, whose: string): string | undefined {
  if (aheadMs === undefined || Math.abs(aheadMs) <= toleranceMs) return undefined;
  return `${duration(Math.abs(aheadMs))} ${aheadMs > 0 ? "behind" : "ahead of"} ${whose}`;
}
