import type { Program } from "./run-program.js";

/** Runs a program of a client against the last member of a stage. */
export type RunAtMember = (
  program: Pick<Program, "script" | "args" | "environment">,
) => Promise<{ readonly stdout: string; readonly problem: string | undefined }>;

/** Something that a client does at a stage, and whose outcome is checked. */
export interface Exercise {
  /** For the report. */
  readonly name: string;
  /** Returns what is otherwise than expected. Undefined: nothing. */
  perform(run: RunAtMember): Promise<string | undefined>;
}
