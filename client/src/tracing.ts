import { CacheError } from "@frontcache/proto";
import {
  type Attributes,
  context,
  type ProxyTracerProvider,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";

/** The traced calls of a client. The spans' names are `frontcache.` and one of these. */
export type TracedOperation = "read" | "stream" | "stat" | "write";

/** The object of a call, and the requested range if there is one. */
export interface TracedObject {
  readonly url: string;
  readonly offset?: number | undefined;
  readonly length?: number | undefined;
}

/** Records one span per call with the application's OpenTelemetry SDK. The span is a child of the caller's active span. */
export class ClientTraces {
  readonly #tracer: Tracer;

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  /** Runs `work` within a span, which ends with its result. Requests that other instrumentations trace become children of the span. */
  async within<Result>(operation: TracedOperation, object: TracedObject, work: () => Promise<Result>): Promise<Result> {
    const span = this.#start(operation, object);
    try {
      const result = await context.with(trace.setSpan(context.active(), span), work);
      span.end();
      return result;
    } catch (error) {
      fail(span, error);
      throw error;
    }
  }

  /** Starts a span; call the result once, with the error if the call failed. */
  begin(operation: TracedOperation, object: TracedObject): (error?: unknown) => void {
    const span = this.#start(operation, object);
    return (error) => (error === undefined ? span.end() : fail(span, error));
  }

  #start(operation: TracedOperation, { url, offset, length }: TracedObject): Span {
    const attributes: Attributes = { "frontcache.object.url": url };
    if (offset !== undefined) attributes["frontcache.range.offset"] = offset;
    if (length !== undefined) attributes["frontcache.range.length"] = length;
    return this.#tracer.startSpan(`frontcache.${operation}`, { kind: SpanKind.CLIENT, attributes });
  }
}

function fail(span: Span, thrown: unknown): void {
  const error = CacheError.from(thrown);
  span.setAttribute("error.type", error.code);
  span.recordException(error);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
  span.end();
}

/**
 * Returns the client's traces. Without a tracer provider, returns undefined: traces are disabled and cost nothing. The provider is
 * looked up when a client is created.
 */
export function registeredTraces(): ClientTraces | undefined {
  // The API stands in for a provider that has not been registered.
  const provider: Partial<ProxyTracerProvider> = trace.getTracerProvider() as Partial<ProxyTracerProvider>;
  const name = "@frontcache/client";
  const tracer = provider.getDelegateTracer === undefined ? trace.getTracer(name) : provider.getDelegateTracer(name);
  return tracer && new ClientTraces(tracer);
}
