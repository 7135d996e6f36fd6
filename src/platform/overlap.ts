/**
 * How long the platforms let the old instance of a deploy live on beside the new one, in milliseconds: what their
 * documentation says, and a margin for a new instance that is slow to become healthy. Where nothing is said, 0.
 */
const overlaps: Readonly<Record<string, number>> = {
  // 60 s after the new one is healthy, then 30 s of grace: render.com, "How Render handles zero-downtime deploys".
  render: 120_000,
  // Until the new one is active, then overlapSeconds (0): docs.railway.com, "Deployment teardown".
  railway: 60_000,
  // Canary and blue-green, until checks pass: fly.io, "Deploy strategies". A rolling deploy has none.
  fly: 60_000,
  // Restarts: 30 s. Preboot: the boot timeout and 2 minutes: devcenter.heroku.com, "Preboot", changelog 1121.
  heroku: 200_000,
  // Until the new one is healthy; its length is not documented: koyeb.com, "Deployments".
  koyeb: 120_000,
  // From the new pod's readiness, 30 s of grace: kubernetes.io, "Deployments", "Pod Lifecycle".
  kubernetes: 60_000,
  // Without a health check 40 s after the start, then 30 s of grace: docs.aws.amazon.com, "Rolling update".
  ecs: 120_000,
  // Revisions overlap while traffic moves; 10 s of grace: cloud.google.com, "Container runtime contract".
  "cloud-run": 60_000,
};

/** The default of `overlapMs` on a platform; 0: no overlap is known. */
export function overlapOfPlatform(platform: string | undefined): number {
  return (platform && overlaps[platform]) || 0;
}
