import { readFileSync } from "node:fs";
import { root } from "./markdown.js";

/** What is done to a source file to break it on purpose. The file itself stays as it is. */
export interface Patch {
  /** Relative to the repository. */
  readonly file: string;
  /** The anchor: stands in the file exactly once, however it is wrapped. */
  readonly find: string;
  readonly replace: string;
}

/** Something that is broken on purpose, by a name that says what is wrong then. */
export interface Breakage {
  readonly name: string;
  readonly patches: readonly Patch[];
}

export function pathOf(file: string): string {
  return root + file;
}

/** The file's text with the patch in it. Throws where the anchor is gone: what is not broken is noticed by no test. */
export function patched(patch: Patch, source = readFileSync(pathOf(patch.file), "utf8")): string {
  const words = patch.find.trim().split(/\s+/).map(escapeRegExp);
  const places = [...source.matchAll(new RegExp(words.join("\\s+"), "g"))];
  const [place] = places;
  if (!place) throw new Error(`its anchor is no longer in ${patch.file}`);
  if (places.length > 1) throw new Error(`its anchor is ${places.length} times in ${patch.file}`);
  return source.slice(0, place.index) + patch.replace + source.slice(place.index + place[0].length);
}

/** A line for each anchor that a change of the source has moved, with the list to mend it in. */
export function lostAnchors(kind: string, breakages: readonly Breakage[], list: string): string[] {
  return breakages.flatMap(({ name, patches }) =>
    patches.flatMap((patch) => {
      try {
        patched(patch);
        return [];
      } catch (error) {
        return [`${kind} "${name}": ${(error as Error).message}; mend ${list}. It was: ${patch.find}`];
      }
    }),
  );
}

/** Ends the process where an anchor is lost, with a line for each. */
export function requireAnchors(kind: string, breakages: readonly Breakage[], list: string): void {
  const lost = lostAnchors(kind, breakages, list);
  for (const line of lost) console.error(line);
  if (lost.length > 0) process.exit(2);
  console.log(`all anchors of ${breakages.length} ${kind}s are found`);
}

function escapeRegExp(word: string): string {
  return word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
