import { SettingsError } from "../config/settings.js";

/** How every command ends; `--help` says so. */
export const ExitCode = { ok: 0, failure: 1, usage: 2 } as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** A command line that can't be right. Its message is one line that says what to write. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The one line on standard error that a failed command ends with, and its exit code. */
export function describeFailure(error: unknown): { line: string; exitCode: ExitCode } {
  const usage = error instanceof UsageError || error instanceof SettingsError;
  const message = error instanceof Error ? error.message : String(error);
  return {
    line: `frontcache: ${message}${usage ? "; see --help" : ""}`.replaceAll(/\s*\n\s*/g, " "),
    exitCode: usage ? ExitCode.usage : ExitCode.failure,
  };
}
