import { EventEmitter } from "node:events";
import { expect, it } from "vitest";
import { logProcessWarnings } from "./process-warnings.js";

it("writes a warning of the process as a structured line, and nothing else prints it", () => {
  const emitter = new EventEmitter();
  const printed: unknown[] = [];
  emitter.on("warning", (warning) => printed.push(warning));
  const lines: unknown[] = [];
  logProcessWarnings({ warn: (...line: unknown[]) => void lines.push(line) }, emitter);
  const message = "received unexpected error = timeout code = UNKNOWN";
  emitter.emit("warning", Object.assign(new Error(message), { name: "MetadataLookupWarning" }));
  expect(printed).toEqual([]);
  expect(lines).toEqual([[{ event: "process-warning", warning: "MetadataLookupWarning", code: undefined }, message]]);
});
