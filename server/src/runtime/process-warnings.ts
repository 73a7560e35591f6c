import type { EventEmitter } from "node:events";
import type { Log } from "./log.js";

/**
 * Writes Node's warnings as structured lines into the log: deprecations, and warnings of libraries such as the
 * MetadataLookupWarning of Google's. Node itself would print them as plain text between the log's JSON.
 */
export function logProcessWarnings(
  log: Pick<Log, "warn">,
  emitter: Pick<EventEmitter, "on" | "removeAllListeners"> = process,
): void {
  emitter.removeAllListeners("warning"); // Node's own listener prints them
  emitter.on("warning", (warning: Error & { readonly code?: string }) => {
    log.warn({ event: "process-warning", warning: warning.name, code: warning.code }, warning.message);
  });
}
