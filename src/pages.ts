/** Where the documentation is read. */
const docs = "https://github.com/grammy-safe-polling/grammy-safe-polling/blob/main/docs/";

/** The address of a page of the documentation, for whoever reads a log line or an error. */
export function page(path: string): string {
  return docs + path;
}
