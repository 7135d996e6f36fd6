/** What the instances of a story share. Each kind has its own stories: a seed of one is another story in the other. */
export type Kind = "lock" | "no lock";
