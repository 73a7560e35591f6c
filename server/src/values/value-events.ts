import { ValueEventMessage, type WatchValuesRequest } from "@frontcache/proto";
import type { Monitors } from "./monitors.js";
import type { ValueEvent, ValueInfo } from "./values.js";

/** Sends events of this member's requests to another member, until the signal is aborted. */
export async function sendEvents(
  monitors: Monitors,
  { bucket, prefix }: WatchValuesRequest,
  send: (event: ValueEventMessage) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for await (const event of monitors.watch({ bucket, prefix, signal })) await send(messageOf(event));
}

function messageOf({ event, url, info }: ValueEvent): ValueEventMessage {
  return ValueEventMessage.fromPartial({ event, url, ...(info !== undefined && { entry: entryOfInfo(info) }) });
}

function entryOfInfo(info: ValueInfo) {
  return {
    ...info,
    metadata: { ...info.metadata },
    expiresMs: info.expiresMs ?? 0,
    contentType: info.contentType ?? "",
    present: true,
  };
}
