import { ManualClock } from "@frontcache/proto/testing";
import { onTestFinished } from "vitest";
import { type Access, plainAccess } from "../members/access.js";
import { BufferLanding, PinnedObject } from "../members/block-landing.js";
import { type Clock, systemClock } from "../members/clock.js";
import { HttpTransport } from "../members/http/http-transport.js";
import { RunningCall } from "../members/running-call.js";
import { type Asked, answerRamp, ScriptedListener } from "./scripted-listener.js";

/** The object of the tested transports: a ramp of 100,000 bytes. */
export const url = "s3://bucket/file";
export const size = 100_000;

/** Answers a request to an HTTP listener; default: with the requested bytes. */
export type ListenerScript = (asked: Asked) => void;

/** Starts an HTTP listener that is killed when the test has finished. */
export async function startListener(script: ListenerScript = (asked) => answerRamp(asked, size)): Promise<ScriptedListener> {
  const listener = await ScriptedListener.start(script);
  onTestFinished(() => listener.kill());
  return listener;
}

/** Options of a tested transport. */
export interface LandingOptions {
  readonly clock?: Clock;
  readonly mostConnections?: number;
  readonly access?: Access;
}

/** Opens a transport to one HTTP listener, with functions to read. It is closed when the test has finished. */
export function openTransport(httpAddress: string, options: LandingOptions = {}) {
  const { clock = systemClock, mostConnections = 4, access = plainAccess } = options;
  const limits = { connectTimeoutMs: 1_000, mostConnections, idleMs: 10_000 };
  const transport = new HttpTransport({ access, clock, ...limits });
  onTestFinished(() => transport.close());
  const begin = () => new RunningCall({ clock, subject: url });
  /** Creates a landing for bytes of the object; `landed` resolves with the first bytes. */
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

/** Starts a scripted listener, and opens a transport to it with a manual clock. */
export async function setUp(script?: ListenerScript, mostConnections?: number) {
  const clock = new ManualClock(0);
  const listener = await startListener(script);
  return {
    clock,
    listener,
    ...openTransport(listener.address, { clock, ...(mostConnections !== undefined && { mostConnections }) }),
  };
}
