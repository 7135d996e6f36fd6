/** The port that the platform has assigned (Render, Railway, Heroku, Koyeb, Cloud Run), as it is written there. */
export function portOfPlatform(env: Readonly<Record<string, string | undefined>> = process.env) {
  return env.PORT;
}
