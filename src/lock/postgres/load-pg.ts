import { SafePollingError } from "../../errors.js";

/** What this library uses of `pg`; structural, so that users without `@types/pg` can compile. */
export interface PgModule {
  readonly Client: new (config: object) => PgClient;
}

export interface PgClient {
  /** Process id that the server, or a pooler in front of it, announced at connect. */
  readonly processID: number | null;
  connect(): Promise<unknown>;
  /** Without values: one message of the simple protocol; several statements give several results. */
  query(sql: string): Promise<PgResult | PgResult[]>;
  on(event: "error", listener: (error: unknown) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  on(event: "notification", listener: (message: Notification) => void): unknown;
}

interface PgResult {
  readonly rows: Row[];
}

/** Every value as the server's text: type parsers that the application has set do not reach us. */
export type Row = Readonly<Record<string, string | null>>;

export interface Notification {
  readonly processId: number;
  readonly channel: string;
  readonly payload?: string | undefined;
}

/** Loads the optional peer dependency `pg` at the first use of the lock. */
export async function loadPg(): Promise<PgModule> {
  try {
    // Before 8.15 `pg` has no ES module of its own: everything is in the default export.
    const pg = (await import("pg")) as unknown as PgModule & { readonly default?: PgModule };
    return pg.default ?? pg;
  } catch (error) {
    throw new SafePollingError(
      "ERR_LOCK_CONFIG",
      "The Postgres lock needs the package `pg`, which could not be loaded. Install it: npm i pg",
      { cause: error },
    );
  }
}
