import type { Link } from "./protocol.js";

/** Where the pages of the documentation explain what is seen here. The page's server has them under these paths. */
export const links = {
  conflict: { href: "/docs/409.md", text: "What a 409 means" },
  noLock: { href: "/docs/409.md#without-a-lock", text: "Without a lock" },
  priority: { href: "/docs/priority.md", text: "Who wins" },
  deploy: { href: "/README.md#what-happens-on-a-deploy", text: "What happens on a deploy" },
  howItWorks: { href: "/docs/how-it-works.md", text: "How it works" },
  guarantees: { href: "/docs/guarantees.md", text: "What is promised, and what is not" },
  postgres: { href: "/docs/postgres.md", text: "The Postgres lock" },
  redis: { href: "/docs/redis.md#what-happens", text: "The Redis lock" },
  locks: { href: "/README.md#locks", text: "The locks" },
  options: { href: "/README.md#options", text: "Options" },
} as const satisfies Record<string, Link>;
