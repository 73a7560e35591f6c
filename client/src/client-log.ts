/** The events that a client logs. */
export type LogEvent =
  | "member-unreachable"
  | "member-reachable"
  | "fallback-started"
  | "fallback-failed"
  | "fallback-ended"
  | "near-disk-failed"
  | "near-disk-recovered";

/** A log entry of a client. */
export interface LogEntry {
  readonly level: "info" | "warn";
  readonly event: LogEvent;
  /** One line: what happened, and to what. */
  readonly message: string;
  /** The error that caused it. */
  readonly error?: unknown;
}

/** Receives the log entries of a client. It must not throw. */
export type Log = (entry: LogEntry) => void;
