import type { ConnectContext, LockConnection } from "../backend.js";
import { announced } from "./announcement.js";
import { applicationName } from "./application-name.js";
import { checkServer, type WarnOnce } from "./check-server.js";
import { connectWith } from "./lifetime.js";
import { LivenessWatch } from "./liveness-watch.js";
import type { PostgresSettings } from "./options.js";
import { SessionConnection } from "./session-connection.js";
import { setUp } from "./session-sql.js";
import { channel } from "./sql.js";
import { openWire } from "./wire.js";

/** One session on the server, whose advisory locks are the keys that it holds. */
export function connectSession(
  { config, leaseMs }: PostgresSettings,
  context: ConnectContext,
  warnOnce: WarnOnce,
): Promise<LockConnection> {
  return connectWith(context, async (life) => {
    const { signal } = life;
    const name = applicationName(context);
    let pid: string | undefined;
    let isReady = false;
    const wire = await openWire({
      config,
      signal,
      onNotification({ channel: source, payload = "", processId }) {
        // Our own releases are announced to us too.
        if (source !== channel || String(processId) === pid) return;
        for (const key of announced(payload)) context.onWake(key, true);
      },
      onClosed(error) {
        life.abort(error);
        if (isReady) context.onClosed(error);
      },
    });
    const openAnother = (ending: AbortSignal) => openWire({ config, signal: ending });
    pid = await checkServer(wire, context, warnOnce, () => openAnother(signal));
    const [memory] = await wire.ask(setUp(name, leaseMs));
    isReady = true;
    return new SessionConnection({
      wire,
      pid,
      memoryAgeMs: Number(memory?.age),
      context,
      watch: new LivenessWatch({
        open: openAnother,
        applicationName: name,
        signal,
        logger: context.logger,
        wantedKeys: () => context.wantedKeys(),
        onWake: () => context.onWake(),
      }),
      end: () => life.abort(new Error("the lock was closed")),
    });
  });
}
