/** How a platform deploys: what overlaps for how long, and how long the old version may take to end. */
export interface Platform {
  readonly id: string;
  readonly name: string;
  readonly label: string;
  /** Between the health of the new version and SIGTERM to the old one, as it is played here. */
  readonly overlapMs: number;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
}

/** Without a lock: what a deploy on Render takes (10 s, 120 s), played as the platforms are here. */
export const withoutLock = { startDelayMs: 1_000, overlapMs: 12_000 };

/** Sources: the vendors' own pages; Render's minute is played in a tenth of the time. */
export const platforms: readonly Platform[] = [
  {
    id: "render",
    name: "Render",
    label: "Render: 60 s overlap (6 s here), 30 s grace",
    overlapMs: 6_000,
    graceMs: 30_000,
  },
  {
    id: "kubernetes",
    name: "Kubernetes",
    label: "Kubernetes: overlap until the old pod ends, 30 s grace",
    overlapMs: 1_000,
    graceMs: 30_000,
  },
  {
    id: "railway-draining",
    name: "Railway",
    label: "Railway: no overlap, 15 s draining set",
    overlapMs: 0,
    graceMs: 15_000,
  },
  {
    id: "railway",
    name: "Railway",
    label: "Railway as it comes: no overlap, SIGKILL at once",
    overlapMs: 0,
    graceMs: 0,
  },
];
