/** What Render tells a service about itself (render.com/docs/environment-variables), and the key that its owner adds. */
export interface RenderEnvironment {
  readonly serviceId: string | undefined;
  readonly apiKey: string | undefined;
  /** Made for a pull request. */
  readonly isPreview: boolean;
}

export function renderEnvironment(env: NodeJS.ProcessEnv = process.env): RenderEnvironment {
  return {
    serviceId: env.RENDER_SERVICE_ID || undefined,
    apiKey: env.RENDER_API_KEY || undefined,
    isPreview: env.IS_PULL_REQUEST === "true",
  };
}
