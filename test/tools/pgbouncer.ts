import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type PostgresServer, role, serverUser, temporaryDirectory } from "./postgres-server.js";
import { endServer, freePort, installPackages, spawnServer } from "./server-process.js";

/** A real PgBouncer in front of a server. */
export interface PgBouncer {
  readonly port: number;
  readonly url: string;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts a PgBouncer. Installs Debian's package where it is missing. */
export async function startPgBouncer(
  server: PostgresServer,
  poolMode: "session" | "transaction" | "statement",
  settings: Readonly<Record<string, string | number>> = {},
): Promise<PgBouncer> {
  const binary = findBinary() ?? installAndFind();
  const port = await freePort();
  const directory = temporaryDirectory("gsp-pgbouncer-");
  const users = join(directory, "users.txt");
  const config = join(directory, "pgbouncer.ini");
  const all = {
    listen_addr: "127.0.0.1",
    listen_port: port,
    unix_socket_dir: "",
    auth_type: "scram-sha-256",
    auth_file: users,
    pool_mode: poolMode,
    default_pool_size: 10,
    ...settings,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(users, `"${role.user}" "${role.password}"\n`);
  writeFileSync(
    config,
    `[databases]\n* = host=127.0.0.1 port=${server.port}\n[pgbouncer]\n${lines.join("\n")}\n`,
  );
  const child = await spawnServer({
    file: binary,
    args: [config],
    options: serverUser(),
    ready: /process up/,
  });
  return {
    port,
    url: server.url(port),
    async [Symbol.asyncDispose]() {
      await endServer(child, () => child.kill("SIGKILL"));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function findBinary(): string | undefined {
  try {
    const found = execFileSync("sh", ["-c", "PATH=$PATH:/usr/sbin command -v pgbouncer"], {
      encoding: "utf8",
    });
    return found.trim();
  } catch {
    return undefined;
  }
}

function installAndFind(): string {
  installPackages("pgbouncer");
  const found = findBinary();
  if (found === undefined) throw new Error("pgbouncer was installed and is not there");
  return found;
}
