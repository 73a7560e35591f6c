import { type DestinationStream, type LogFn, type Logger, type LoggerOptions, pino } from "pino";

/** The log of a member. Every line has an `event`, and a text in `msg`. */
export interface Log extends Pick<Logger, "debug" | "info" | "warn" | "error"> {
  /** Writes a line at level info, whatever level is configured: for events that other programs wait for. */
  readonly always: LogFn;
  /** Whether lines at level debug are written. If not, callers need not compute their fields. */
  readonly debugEnabled: boolean;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

/** One JSON object per line, on standard output if no destination is given. */
export function createLog(level: LogLevel, destination?: DestinationStream): Log {
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  };
  const logger = destination === undefined ? pino(options) : pino(options, destination);
  const unconditional = logger.child({}, { level: "info" });
  return Object.assign(logger, {
    always: unconditional.info.bind(unconditional) as LogFn,
    debugEnabled: level === "debug",
  });
}
