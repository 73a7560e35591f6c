import { ManualClock } from "@frontcache/proto/testing";
import { onTestFinished } from "vitest";
import { type Access, plainAccess } from "../members/access.js";
import { BufferLanding, PinnedObject } from "../members/block-landing.js";
import { type Clock, systemClock } from "../members/clock.js";
import { HttpTransport } from "../members/http/http-transport.js";
import { RunningCall } from "../members/running-call.js";
import { type Asked, answerRamp, ScriptedListener } from "./scripted-listener.js";

/** The object that landing transports under test read: a ramp of 100,000 bytes. */
export const url = "s3://bucket/file";
export const size = 100_000;

/** How a HTTP listener answers a request: by default with the bytes asked for. */
export type ListenerScript = (asked: Asked) => void;

/** A HTTP listener that is killed when the test has finished. */
export async function startListener(script: ListenerScript = (asked) => answerRamp(asked, size)): Promise<ScriptedListener> {
  const listener = await ScriptedListener.start(script);
  onTestFinished(() => listener.kill());
  return listener;
}

/** What of a landing transport a test wants otherwise. */
export interface LandingOptions {
  readonly clock?: Clock;
  readonly mostConnections?: number;
  readonly access?: Access;
}

/** A transport to one HTTP listener, closed when the test has finished, with ways to read by it. */
export function openTransport(httpAddress: string, options: LandingOptions = {}) {
  const { clock = systemClock, mostConnections = 4, access = plainAccess } = options;
  const limits = { connectTimeoutMs: 1_000, mostConnections, idleMs: 10_000 };
  const transport = new HttpTransport({ access, clock, ...limits });
  onTestFinished(() => transport.close());
  const begin = () => new RunningCall({ clock, subject: url });
  /** A place for bytes of the object; `landed` resolves with the first of them. */
  const land = (offset = 0, length = size, version = "v1") => {
    let onLanded = (): void => undefined;
    const landed = new Promise<void>((resolve) => {
      onLanded = resolve;
    });
    const pinned = new PinnedObject(url, version);
    const part = { blockOffset: 0, offset, length };
    const landing = new BufferLanding(part, { pinned, place: (bytes) => Buffer.alloc(bytes), onLanded: () => onLanded() });
    return { landing, landed };
  };
  const address = { grpcAddress: "m:80", httpAddress };
  const read = (landing = land().landing, call = begin()) => transport.read(address, landing, call).finally(() => call.end());
  return { transport, begin, land, read };
}

/** A scripted listener and a transport to it, with a manual clock. */
export async function setUp(script?: ListenerScript, mostConnections?: number) {
  const clock = new ManualClock(0);
  const listener = await startListener(script);
  return {
    clock,
    listener,
    ...openTransport(listener.address, { clock, ...(mostConnections !== undefined && { mostConnections }) }),
  };
}
