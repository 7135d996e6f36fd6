import type { Wire } from "./wire.js";

type Pooling = "none" | "session" | "transaction";

// Every server process counts its own transactions; the second part of this number is the count.
const whichServer = `SELECT pg_backend_pid() AS pid, split_part(virtualtransaction, '/', 2) AS count
FROM pg_locks WHERE locktype = 'virtualxid' AND pid = pg_backend_pid()`;

/**
 * Finds out whether a pooler is in between, and of which kind, before any setting of the session is touched.
 * A pooler announces a process id of its own. One that takes the server connection away between transactions
 * gives itself away when a second client gets it, when the first finds itself on another one, or when somebody
 * else has used it since. Under the load of other clients each look has an even chance to be deceived, hence
 * many. A pooler that takes turns among two is seen as soon as the second client has given its one back.
 */
export async function probePooling(
  wire: Wire,
  pid: string,
  openSecond: () => Promise<Wire>,
): Promise<Pooling> {
  if (wire.announcedPid === pid) return "none";
  const second = await openSecond();
  let lastCount: number | undefined;
  const isMoved = async (looks: number) => {
    for (let look = 0; look < looks; look += 1) {
      const [server] = await wire.ask(whichServer);
      const count = Number(server?.count);
      if (server?.pid !== pid || count !== (lastCount ?? count - 1) + 1) return true;
      lastCount = count;
    }
    return false;
  };
  try {
    const [other] = await second.ask("BEGIN; SELECT pg_backend_pid() AS pid");
    if (other?.pid === pid || (await isMoved(20))) return "transaction";
    await second.ask("ROLLBACK");
    return (await isMoved(4)) ? "transaction" : "session";
  } finally {
    second.destroy();
  }
}
