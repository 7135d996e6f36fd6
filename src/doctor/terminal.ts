import { hideSecrets } from "./secrets.js";

/** Where the doctor's words go, and its questions. */
export interface Terminal {
  /** One line or several on stdout. */
  print(text: string): void;
  /** One line on stderr. */
  complain(text: string): void;
  /** Asks for yes or no; undefined where there is nobody to ask. */
  readonly ask: ((question: string) => Promise<boolean>) | undefined;
}

/** The same terminal behind `hideSecrets`. `secrets` may still grow. */
export function discreet({ print, complain, ask }: Terminal, secrets: readonly string[]) {
  const hide = (text: string) => hideSecrets(text, secrets);
  return {
    print: (text: string) => print(hide(text)),
    complain: (text: string) => complain(hide(text)),
    ask: ask && ((question: string) => ask(hide(question))),
    printJson(content: object): void {
      const hidden = (_: string, value: unknown) => (typeof value === "string" ? hide(value) : value);
      print(JSON.stringify(content, hidden, 2));
    },
  };
}
