import { CutShortError, Patience } from "../demo/patience.js";
import type { StoryView } from "./protocol.js";
import type { Run } from "./run.js";
import type { Story } from "./stories.js";

/** Plays one story, step by step, until its end or until it is stopped. */
export class StoryPlayer {
  readonly #story: Story;
  readonly #run: Run;
  readonly #speed: number;
  readonly #show: (view: StoryView) => void;
  readonly #patience = new Patience();
  view: StoryView;

  constructor(options: {
    readonly story: Story;
    readonly run: Run;
    /** Divides the times for the audience; what the processes take stays as it is. */
    readonly speed: number;
    readonly show: (view: StoryView) => void;
  }) {
    this.#story = options.story;
    this.#run = options.run;
    this.#speed = options.speed;
    this.#show = options.show;
    this.view = this.#viewOf(0);
  }

  get isPlaying(): boolean {
    return this.view.state === "playing";
  }

  async play(): Promise<void> {
    const { steps } = this.#story;
    const stage = {
      run: this.#run,
      patience: this.#patience,
      watch: (ms: number) => this.#patience.pass(ms / this.#speed),
    };
    try {
      for (const [index, step] of steps.entries()) {
        this.#enter(this.#viewOf(index));
        if (index === 0) await this.#begin();
        await step.play(stage);
      }
      this.#enter({ ...this.view, state: "finished" });
    } catch (error) {
      if (!(error instanceof CutShortError)) throw error;
      this.#enter({ ...this.view, state: "stopped", sentence: "The story was stopped.", link: undefined });
    }
  }

  stop(): void {
    this.#patience.end("the story was stopped");
  }

  /** Messages come in when version 1 polls in both lanes. */
  async #begin(): Promise<void> {
    const run = this.#run;
    const polling = run.both.map((lane) => lane.named("v1").reaches("polling"));
    await this.#patience.for("version 1 polls", Promise.all(polling));
    run.traffic.messagesPerSecond = this.#story.messagesPerSecond;
    run.changed();
  }

  #enter(view: StoryView): void {
    this.view = view;
    this.#show(view);
  }

  #viewOf(index: number): StoryView {
    const { id, title, steps } = this.#story;
    const step = steps[index];
    return {
      id,
      title,
      step: index + 1,
      steps: steps.length,
      sentence: step?.sentence(this.#run) ?? "",
      link: step?.link,
      state: "playing",
    };
  }
}
