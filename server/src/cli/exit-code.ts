import { CacheError } from "@frontcache/proto";
import { SettingsError } from "../config/settings.js";

/** The exit codes of every command, with their texts in `--help` and the README. */
export const exitCodes = {
  ok: { code: 0, text: "done" },
  failure: { code: 1, text: "failed" },
  usage: { code: 2, text: "invalid usage" },
  notFound: { code: 3, text: "no such object" },
  interrupted: { code: 130, text: "interrupted" },
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]["code"];

/** All of them in one line. */
export const exitCodeText = Object.values(exitCodes)
  .map(({ code, text }) => `${code} ${text}`)
  .join(", ");

/** An invalid command line. Its message is one line that says what to use. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The line on standard error for a failed command, and its exit code. With `json` the line is an object. */
export function describeFailure(error: unknown, json = false): { line: string; exitCode: ExitCode } {
  const usage = error instanceof UsageError || error instanceof SettingsError;
  const text = error instanceof Error ? error.message : String(error);
  const message = `${text}${usage ? "; see --help" : ""}`.replaceAll(/\s*\n\s*/g, " ");
  const exitCode = usage ? exitCodes.usage.code : exitCodeOf(error);
  if (!json) return { line: `frontcache: ${message}`, exitCode };
  const code = usage ? "USAGE" : error instanceof CacheError ? error.code : "FAILED";
  return { line: JSON.stringify({ error: { code, message } }), exitCode };
}

function exitCodeOf(error: unknown): ExitCode {
  const code = error instanceof CacheError ? error.code : undefined;
  if (code === "NOT_FOUND") return exitCodes.notFound.code;
  return code === "CANCELLED" ? exitCodes.interrupted.code : exitCodes.failure.code;
}
