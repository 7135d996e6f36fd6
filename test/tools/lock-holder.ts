// A process that takes keys on a Postgres lock and keeps them: killed, it leaves them to the server. With `byHand`
// it takes that advisory lock too, on a connection like those of hand-written code.
import pg from "pg";
import { postgresLock } from "../../src/lock/postgres/postgres-lock.js";
import { connectPeer } from "./lock-peer.js";

const { keys, byHand, ...options } = JSON.parse(process.argv[2] ?? "{}");
const peer = await connectPeer(postgresLock(options));
peer.wanted = keys;
const claims = await peer.connection.claim(keys.map((key: string) => ({ key, mayTakeForgotten: true })));
if (byHand !== undefined) {
  const client = new pg.Client({ connectionString: options.connectionString });
  await client.connect();
  await client.query("SELECT pg_advisory_lock($1)", [byHand]);
}
console.log(JSON.stringify({ granted: claims.filter((claim) => claim.granted).length }));
setInterval(() => peer.connection.beat(keys), 500);
