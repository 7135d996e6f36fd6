/** A terminal or a file: lines that stay, and below them, on a terminal, some that are drawn anew in place. */
export class Screen {
  readonly #stream: NodeJS.WriteStream;
  readonly isLive: boolean;
  #drawn = 0;

  constructor(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv) {
    this.#stream = stream;
    this.isLive = stream.isTTY === true && env.TERM !== "dumb";
    if (this.isLive) this.#write("\u001b[?25l");
  }

  get columns(): number {
    return this.#stream.columns ?? 80;
  }

  /** Writes lines that stay. */
  print(...lines: readonly string[]): void {
    this.#write(`${this.#erasing()}${lines.map((line) => `${line}\n`).join("")}`);
  }

  /** Replaces the lines at the bottom. Each must fit the width. */
  draw(lines: readonly string[]): void {
    const text = `${this.#erasing()}${lines.map((line) => `${line}\n`).join("")}`;
    this.#drawn = lines.length;
    this.#write(text);
  }

  /** Removes the lines at the bottom and gives the cursor back. */
  close(): void {
    if (this.isLive) this.#write(`${this.#erasing()}\u001b[?25h`);
  }

  #erasing(): string {
    const erase = this.#drawn === 0 ? "" : `\u001b[${this.#drawn}A\u001b[0J`;
    this.#drawn = 0;
    return erase;
  }

  #write(text: string): void {
    if (text !== "") this.#stream.write(text);
  }
}
