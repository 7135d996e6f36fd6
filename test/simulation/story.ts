/** One line of a story: when, who, what. */
export type Tell = (who: string, what: string) => void;

/** The timeline of a run, and what it broke. Kept only when it will be read: a run that is not watched writes nothing. */
export class Story {
  readonly lines: string[] = [];
  readonly tell: Tell;
  readonly accuse: Accuse;
  readonly isTold: boolean;
  violation: Violation | undefined;

  constructor(isTold: boolean, nowMs: () => number, end: () => void) {
    this.isTold = isTold;
    this.tell = isTold
      ? (who, what) => this.lines.push(`${nowMs().toFixed(1).padStart(9)} ms  ${who.padEnd(11)}  ${what}`)
      : () => {};
    this.accuse = (rule, what) => {
      this.tell("judge", `BROKEN: ${rule}: ${what}`);
      this.violation ??= { rule, what };
      end();
    };
  }
}

/** What a run has broken. */
export interface Violation {
  readonly rule: string;
  readonly what: string;
}

/** Accuses the library of breaking a rule; the first accusation ends the run. */
export type Accuse = (rule: string, what: string) => void;
