import type { ServerResponse } from "node:http";
import type { Fault } from "./faults.js";
import type { Content } from "./objects.js";
import { drained, pause } from "./pause.js";
import type { Traffic } from "./traffic.js";

const CHUNK_BYTES = 256 << 10;

/** A rate-limited body is sent in steps of about this time, so it arrives evenly. */
const STEP_MS = 4;

/** Sends `[start, end)` of the content after the header, with the configured fault, and ends the response. */
export async function sendBody(
  response: ServerResponse,
  content: Content,
  start: number,
  end: number,
  fault: Fault,
  traffic: Traffic,
): Promise<void> {
  // Unlike `flushHeaders`, which sends them in UTF-8.
  response.write(Buffer.alloc(0));
  const stop = fault.body === undefined ? end : Math.min(end, start + fault.body.afterBytes);
  await sendPaced(response, content, start, stop, fault.bytesPerSecond, traffic);
  if (response.destroyed) return;
  if (fault.body !== undefined && stop < end) return interrupt(response, fault.body.how);
  response.end(fault.range === "long" ? Buffer.alloc(1) : undefined);
}

async function sendPaced(
  response: ServerResponse,
  content: Content,
  start: number,
  stop: number,
  bytesPerSecond: number | undefined,
  traffic: Traffic,
): Promise<void> {
  const stepBytes = bytesPerSecond === undefined ? CHUNK_BYTES : Math.ceil((bytesPerSecond * STEP_MS) / 1000);
  const beganMs = performance.now();
  let sent = 0;
  for (const chunk of content.chunks(start, stop, Math.min(CHUNK_BYTES, stepBytes))) {
    sent += chunk.length;
    if (bytesPerSecond !== undefined) {
      // A chunk is sent when its last byte is due. Timers truncate fractions of milliseconds.
      const waitMs = Math.ceil(beganMs + (sent / bytesPerSecond) * 1000 - performance.now());
      if (waitMs > 0) await pause(waitMs, response);
      if (response.destroyed) return;
    }
    traffic.bytesSent += chunk.length;
    if (!response.write(chunk)) await drained(response);
    if (response.destroyed) return;
  }
}

function interrupt(response: ServerResponse, how: "reset" | "close" | "stall"): void {
  const socket = response.socket;
  if (how === "stall" || socket === null) return;
  if (how === "close") socket.end();
  // A reset discards unsent bytes, so wait until the kernel has taken them. There may be no `drain` event if nothing was
  // buffered.
  else socket.write("", () => socket.resetAndDestroy());
}
