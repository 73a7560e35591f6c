import { CacheError, type ValueEntry, ValueEventMessage, type WatchValuesRequest } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Monitors } from "./monitors.js";
import type { PeriodicWork } from "./periodic-work.js";
import { entryOfInfo, infoOf } from "./value-entry.js";
import type { ValueMembers } from "./value-members.js";
import type { MonitorRequest, ValueEvent } from "./values.js";

/** How often a monitor looks for members that it does not watch yet. */
const WATCH_AGAIN_MS = 1_000;

export interface MonitoringOptions {
  readonly members: ValueMembers;
  /** Of the requests that this member took. */
  readonly monitors: Monitors;
  readonly work: PeriodicWork;
}

/** Events of all members: each reports those of the requests that it took. A member that joins is watched from then on. */
export async function* monitorValues(
  { bucket, prefix, signal }: MonitorRequest,
  { members, monitors, work }: MonitoringOptions,
): AsyncGenerator<ValueEvent> {
  const watching = new LinkedAbort(signal);
  const monitor = monitors.watch({ bucket, prefix, signal: watching.signal });
  const watched = new Set<string>();
  const watchAll = (): void => {
    for (const member of members.members) {
      if (member.name === members.self || watched.has(member.name)) continue;
      watched.add(member.name);
      const onEvent = (message: ValueEventMessage): void => monitor.push(eventOf(message));
      const forget = (): void => void watched.delete(member.name);
      members.watch(member, { bucket, prefix }, onEvent, watching.signal).then(forget, forget);
    }
  };
  watchAll();
  const cancel = work.every(WATCH_AGAIN_MS, async () => watchAll());
  try {
    yield* monitor;
  } finally {
    cancel();
    watching.abort(new CacheError("CANCELLED", "the monitor has ended"));
    watching.unlink();
  }
}

/** Sends events of this member's requests to another member, until the signal is aborted. */
export async function sendEvents(
  monitors: Monitors,
  { bucket, prefix }: WatchValuesRequest,
  send: (event: ValueEventMessage) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for await (const event of monitors.watch({ bucket, prefix, signal })) await send(messageOf(event));
}

function eventOf({ event, url, entry }: { event: string; url: string; entry?: ValueEntry | undefined }): ValueEvent {
  return { event: event as ValueEvent["event"], url, ...(entry !== undefined && { info: infoOf(entry) }) };
}

function messageOf({ event, url, info }: ValueEvent): ValueEventMessage {
  return ValueEventMessage.fromPartial({ event, url, ...(info !== undefined && { entry: entryOfInfo(info) }) });
}
