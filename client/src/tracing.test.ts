import { CacheError } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { type Attributes, type Span, SpanStatusCode, type Tracer, type TracerProvider, trace } from "@opentelemetry/api";
import { afterEach, describe, expect, it } from "vitest";
import { type CacheClient, clientOver } from "./cache-client.js";
import type { MemberConnections } from "./members/ports.js";
import { completeOptions } from "./options.js";
import { FakeTransport } from "./testing/fake-transport.js";
import { noObjectRequests } from "./testing/index.js";
import { ClientTraces, registeredTraces } from "./tracing.js";

const url = "s3://bucket/file";

interface RecordedSpan {
  readonly name: string;
  readonly attributes: Attributes;
  readonly exception: unknown;
  readonly status: unknown;
  ends: number;
}

/** Records the spans that it starts. */
class FakeTracer implements TracerProvider {
  readonly spans: RecordedSpan[] = [];

  getTracer(): Tracer {
    return this as unknown as Tracer;
  }

  startSpan(name: string, { attributes = {} }: { attributes?: Attributes }): Span {
    const recorded: RecordedSpan = { name, attributes: { ...attributes }, exception: undefined, status: undefined, ends: 0 };
    this.spans.push(recorded);
    const span = {
      setAttribute: (key: string, value: string) => void Object.assign(recorded.attributes, { [key]: value }),
      recordException: (exception: unknown) => void Object.assign(recorded, { exception }),
      setStatus: (status: unknown) => void Object.assign(recorded, { status }),
      end: () => void recorded.ends++,
    };
    return span as unknown as Span;
  }
}

async function start(): Promise<{ client: CacheClient; tracer: FakeTracer; transport: FakeTransport }> {
  const transport = new FakeTransport({ version: "v1", size: 1_000 });
  const connections = transport as unknown as MemberConnections;
  const tracer = new FakeTracer();
  const traces = new ClientTraces(tracer.getTracer());
  const ports = { clock: new ManualClock(0), connections, requests: noObjectRequests, traces };
  return { client: await clientOver(completeOptions({ endpoint: "a:1", attempts: 1 }), ports), tracer, transport };
}

describe("the traces of a client", () => {
  afterEach(() => trace.disable());

  it("record one span per call, with the object and the range", async () => {
    const { client, tracer } = await start();
    await client.readRange(url, 10, 20, "v1");
    await client.stat(url);
    for await (const _ of client.stream(url, 0, 100, "v1"));
    await client.close();
    expect(tracer.spans.map(({ name, attributes, ends }) => ({ name, attributes, ends }))).toEqual([
      {
        name: "frontcache.read",
        attributes: { "frontcache.object.url": url, "frontcache.range.offset": 10, "frontcache.range.length": 20 },
        ends: 1,
      },
      { name: "frontcache.stat", attributes: { "frontcache.object.url": url }, ends: 1 },
      {
        name: "frontcache.stream",
        attributes: { "frontcache.object.url": url, "frontcache.range.offset": 0, "frontcache.range.length": 100 },
        ends: 1,
      },
    ]);
  });

  it("record the error of a failed call, and its code", async () => {
    const { client, tracer, transport } = await start();
    const failure = new CacheError("NOT_FOUND", `${url}: no such object`);
    transport.onRead = () => ({ error: failure });
    await expect(client.readRange(url, 0, 1, "v1")).rejects.toBe(failure);
    await client.close();
    expect(tracer.spans).toMatchObject([
      {
        attributes: { "error.type": "NOT_FOUND" },
        exception: failure,
        status: { code: SpanStatusCode.ERROR, message: failure.message },
        ends: 1,
      },
    ]);
  });

  it("are disabled without a registered provider", async () => {
    expect(registeredTraces()).toBeUndefined();
    const tracer = new FakeTracer();
    trace.setGlobalTracerProvider(tracer);
    await registeredTraces()?.within("read", { url }, async () => "done");
    expect(tracer.spans).toMatchObject([{ name: "frontcache.read", ends: 1 }]);
  });
});
