import type { ClientPorts, ConnectedMembers } from "./connected-members.js";
import type { RunningCall } from "./members/running-call.js";
import type { ClientMetrics } from "./metrics.js";
import { type CallOptions, type ClientOptions, deadlineOf } from "./options.js";
import { RunningCalls } from "./running-calls.js";
import type { TracedObject, TracedOperation } from "./tracing.js";

/** The calls of one client: each has a deadline and a signal, waits for a member if necessary, and is measured and traced. */
export class ClientCalls {
  readonly connected: ConnectedMembers;
  readonly #options: ClientOptions;
  readonly #ports: Pick<ClientPorts, "clock" | "metrics" | "traces">;
  readonly #running: RunningCalls;

  constructor(options: ClientOptions, ports: ClientPorts, connected: ConnectedMembers) {
    this.connected = connected;
    this.#options = options;
    this.#ports = ports;
    this.#running = new RunningCalls(ports.clock);
  }

  /** Milliseconds of a call's own deadline, or the client's. */
  deadlineOf(options: CallOptions): number {
    return deadlineOf(options, this.#options);
  }

  /** Runs a call, which ends with its deadline. Without members it waits for one; with `fallback` only for the first failure. */
  run<Result>(subject: string, options: CallOptions, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    const end = { signal: options.signal, deadlineMs: this.deadlineOf(options) };
    return this.#running.run(subject, end, this.connected.list.isReady ? work : (call) => this.#whenReady(call, work));
  }

  /** Runs a call without a deadline. `work` waits for a member itself if it needs one. */
  runLong<Result>(
    subject: string,
    { signal }: Pick<CallOptions, "signal">,
    work: (call: RunningCall) => Promise<Result>,
  ): Promise<Result> {
    return this.#running.run(subject, { signal }, work);
  }

  /** Begins a call that ends by itself, for example with a stream. The caller keeps it until then. */
  begin(subject: string, { signal }: Pick<CallOptions, "signal">): RunningCall {
    return this.#running.begin(subject, { signal });
  }

  /** Keeps a call until `done` has settled. */
  keep(call: RunningCall, done: Promise<void>): void {
    this.#running.keep(call, done);
  }

  /** Measures and traces a read, if the application has registered an OpenTelemetry SDK. */
  observed<Result>(object: TracedObject, read: () => Promise<Result>): Promise<Result> {
    const { metrics, traces } = this.#ports;
    const reading = traces === undefined ? read() : traces.within("read", object, read);
    return metrics === undefined ? reading : this.#timed(reading, metrics);
  }

  traced<Result>(operation: TracedOperation, url: string, work: () => Promise<Result>): Promise<Result> {
    const { traces } = this.#ports;
    return traces === undefined ? work() : traces.within(operation, { url }, work);
  }

  /** Aborts all calls with CANCELLED; resolves when their work has settled. */
  close(): Promise<void> {
    return this.#running.close();
  }

  async #whenReady<Result>(call: RunningCall, work: (call: RunningCall) => Promise<Result>): Promise<Result> {
    await this.connected.ready(call);
    return await work(call);
  }

  async #timed<Result>(reading: Promise<Result>, metrics: ClientMetrics): Promise<Result> {
    const { clock } = this.#ports;
    const begunMs = clock.monotonicMs();
    try {
      const bytes = await reading;
      metrics.read("range", clock.monotonicMs() - begunMs);
      return bytes;
    } catch (error) {
      metrics.read("range", clock.monotonicMs() - begunMs, error);
      throw error;
    }
  }
}
