import type { CacheServiceClient } from "@frontcache/client/grpc";
import type { Channels, MemberCalls } from "../../client/src/members/grpc/grpc-channels.js";
import { type CallLimits, type MemberAddress, Unreachable } from "../../client/src/members/transport.js";
import type { CallerEnd } from "./simulated-call.js";
import type { Connection } from "./simulated-connection.js";
import type { SimulatedNetwork } from "./simulated-network.js";

/** As the real client's default. */
const CONNECT_TIMEOUT_MS = 1_000;

/** A client's channels to members over the simulated network: what GrpcTransport talks by, without gRPC. */
export class SimulatedChannels implements Channels {
  readonly #connections = new Map<string, Connection>();

  constructor(
    private readonly network: SimulatedNetwork,
    private readonly name: string,
  ) {}

  async connected({ grpcAddress }: MemberAddress, subject: string, limits: CallLimits): Promise<MemberCalls> {
    const standing = this.#connections.get(grpcAddress);
    if (standing?.open === true) return callsOn(standing);
    try {
      const connection = await this.network.connect(this.name, grpcAddress, CONNECT_TIMEOUT_MS);
      this.#connections.set(grpcAddress, connection);
      return callsOn(connection);
    } catch (cause) {
      if (limits.ended !== undefined) throw limits.ended;
      throw new Unreachable(`${subject}: no connection to member ${grpcAddress}`, { cause });
    }
  }

  async lookFor({ grpcAddress }: MemberAddress): Promise<void> {
    (await this.network.connect(this.name, grpcAddress, CONNECT_TIMEOUT_MS)).break("it was only looked for");
  }

  keepOnly(addresses: readonly MemberAddress[]): void {
    const kept = new Set(addresses.map(({ grpcAddress }) => grpcAddress));
    for (const address of this.#connections.keys()) if (!kept.has(address)) this.#connections.delete(address);
  }

  close(): void {
    this.#connections.clear();
  }
}

/** The calls of a service client as GrpcTransport makes them, on a simulated connection. */
function callsOn(connection: Connection): MemberCalls {
  const stream = (method: keyof MemberCalls) => (request: object) => connection.call(method, request);
  const unary = (method: keyof MemberCalls) => (request: object, _metadata: unknown, _options: unknown, callback: Answered) =>
    answered(connection.call(method, request), callback);
  const calls: Record<keyof MemberCalls, unknown> = {
    readRange: stream("readRange"),
    warm: stream("warm"),
    watchMembers: stream("watchMembers"),
    stat: unary("stat"),
    evict: unary("evict"),
    touch: unary("touch"),
  };
  return calls as CacheServiceClient;
}

type Answered = (error: unknown, answer?: unknown) => void;

/** Calls back with a unary call's one answer, or with its error. */
function answered<Response>(call: CallerEnd<Response>, callback: Answered): CallerEnd<Response> {
  let answer: Response | undefined;
  call.on("data", (response: Response) => {
    answer = response;
  });
  call.on("end", () => callback(null, answer));
  call.on("error", (error: Error) => callback(error));
  return call;
}
