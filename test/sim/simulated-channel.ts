import type {
  EvictRequest,
  EvictResponse,
  ReadRangeRequest,
  ReadRangeResponse,
  WarmProgress,
  WarmRequest,
} from "@frontcache/proto";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { MemberChannel, MemberReadCall } from "../../server/src/routing/member-channel.js";
import { CallerEnd } from "./simulated-call.js";
import type { Connection } from "./simulated-connection.js";
import type { SimulatedNetwork } from "./simulated-network.js";

/** As the real channel's. */
const CONNECT_TIMEOUT_MS = 1_000;
const PROBE_TIMEOUT_MS = 1_000;

/** One member's way to another over the simulated network, as GrpcMemberChannel is over a real one. */
export class SimulatedChannel implements MemberChannel {
  #connection: Connection | undefined;
  #closed = false;

  constructor(
    private readonly network: SimulatedNetwork,
    private readonly from: string,
    /** The process that it belongs to: once that is dead, nothing comes out of it any more. */
    private readonly process: { readonly dead: boolean },
    private readonly address: string,
    /** Hears of every read that is sent. */
    private readonly onRead: (request: ReadRangeRequest) => void,
  ) {}

  get connected(): boolean {
    return !this.#closed && this.#connection?.open === true;
  }

  async connect(): Promise<void> {
    if (this.#closed) throw new Error("the channel is closed");
    if (this.connected) return;
    const connection = await this.network.connect(this.from, this.address, CONNECT_TIMEOUT_MS);
    if (this.process.dead) {
      connection.forsake(0);
      await new Promise<never>(() => {});
    }
    this.#connection = connection;
  }

  async probe(): Promise<void> {
    try {
      await this.#ask("lookupOwner", { key: "s3://bucket/key", offset: 0 }, PROBE_TIMEOUT_MS);
    } catch (cause) {
      this.#connection = undefined;
      throw cause;
    }
  }

  readRange(request: ReadRangeRequest): MemberReadCall {
    this.onRead(request);
    return this.#call<ReadRangeResponse>("readRange", request) as unknown as MemberReadCall;
  }

  async evict(request: EvictRequest, timeoutMs: number): Promise<EvictResponse> {
    if (!this.connected) {
      await this.connect().catch((cause) => {
        throw Object.assign(new Error("no connection", { cause }), { code: status.UNAVAILABLE, metadata: new Metadata() });
      });
    }
    return this.#ask<EvictResponse>("evict", request, timeoutMs);
  }

  async warm(request: WarmRequest, signal: AbortSignal): Promise<WarmProgress> {
    const call = this.#call<WarmProgress>("warm", request);
    const cancel = (): void => call.cancel();
    signal.addEventListener("abort", cancel, { once: true });
    return new Promise<WarmProgress>((resolve, reject) => {
      call.on("data", resolve);
      call.on("error", reject);
    }).finally(() => signal.removeEventListener("abort", cancel));
  }

  close(): void {
    this.#closed = true;
  }

  #call<Response>(method: "readRange" | "lookupOwner" | "evict" | "warm", request: object): CallerEnd<Response> {
    if (this.connected) return this.#connection!.call(method, request);
    const end = new CallerEnd<Response>(
      () => {},
      () => {},
    );
    end.fail({ code: status.UNAVAILABLE, details: "not connected" });
    return end;
  }

  #ask<Response>(method: "lookupOwner" | "evict", request: object, timeoutMs: number): Promise<Response> {
    const call = this.#call<Response>(method, request);
    return new Promise<Response>((resolve, reject) => {
      const cancelTimeout = this.network.time.after(timeoutMs, () => call.cancel());
      call.on("data", resolve);
      call.on("end", cancelTimeout);
      call.on("error", (error: ServiceError) => {
        cancelTimeout();
        reject(error);
      });
    });
  }
}
