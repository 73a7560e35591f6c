import { onTestFinished } from "vitest";
import { type Access, plainAccess } from "../members/access.js";
import { BufferLanding, PinnedObject } from "../members/block-landing.js";
import { type Clock, systemClock } from "../members/clock.js";
import { HttpTransport } from "../members/http/http-transport.js";
import { RunningCall } from "../members/running-call.js";
import { ManualClock } from "./manual-clock.js";
import { type Asked, answerRamp, ScriptedGateway } from "./scripted-gateway.js";

/** The object that landing transports under test read: a ramp of 100,000 bytes. */
export const url = "s3://bucket/file";
export const size = 100_000;

/** How a gateway answers a request: by default with the bytes asked for. */
export type GatewayScript = (asked: Asked) => void;

/** A gateway that is killed when the test has finished. */
export async function startGateway(script: GatewayScript = (asked) => answerRamp(asked, size)): Promise<ScriptedGateway> {
  const gateway = await ScriptedGateway.start(script);
  onTestFinished(() => gateway.kill());
  return gateway;
}

/** What of a landing transport a test wants otherwise. */
export interface LandingOptions {
  readonly clock?: Clock;
  readonly mostConnections?: number;
  readonly access?: Access;
}

/** A transport to one gateway, closed when the test has finished, with ways to read by it. */
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

/** A gateway and a transport to it, by a clock that stands still. */
export async function setUp(script?: GatewayScript, mostConnections?: number) {
  const clock = new ManualClock();
  const gateway = await startGateway(script);
  return {
    clock,
    gateway,
    ...openTransport(gateway.address, { clock, ...(mostConnections !== undefined && { mostConnections }) }),
  };
}
