import { cacheService } from "@frontcache/client/grpc";
import {
  type CallLimits,
  type Channels,
  type Clock,
  GrpcMembers,
  type MemberAddress,
  type MemberConnections,
  plainAccess,
  type ServiceCalls,
  Unreachable,
} from "@frontcache/client/testing";
import type { ReadRangeRequest } from "@frontcache/proto";
import type { Metadata } from "@grpc/grpc-js";
import type { CallerEnd } from "./simulated-call.js";
import type { Connection, End, Handlers } from "./simulated-connection.js";
import type { SimulatedNetwork } from "./simulated-network.js";

/** As the real client's default. */
const CONNECT_TIMEOUT_MS = 1_000;

/** What GrpcMembers talks by, for a client or a member, over the simulated network instead of gRPC. */
export class SimulatedChannels implements Channels {
  readonly #connections = new Map<string, Connection>();

  readonly #network: SimulatedNetwork;
  readonly #caller: SimulatedCaller;

  constructor(network: SimulatedNetwork, caller: SimulatedCaller) {
    this.#network = network;
    this.#caller = caller;
  }

  ready({ grpcAddress }: MemberAddress): ServiceCalls | undefined {
    const known = this.#connections.get(grpcAddress);
    return known?.open === true ? this.#callsOn(known) : undefined;
  }

  async connected(address: MemberAddress, subject: string, limits: CallLimits): Promise<ServiceCalls> {
    const known = this.ready(address);
    if (known !== undefined) return known;
    const { grpcAddress } = address;
    try {
      const connection = await this.#network.connect(this.#caller, grpcAddress, CONNECT_TIMEOUT_MS);
      await this.#unlessDead(connection);
      this.#connections.set(grpcAddress, connection);
      return this.#callsOn(connection);
    } catch (cause) {
      if (limits.ended !== undefined) throw limits.ended;
      throw new Unreachable(`${subject}: no connection to member ${grpcAddress}`, { cause, wasSent: false });
    }
  }

  drop(grpcAddress: string): void {
    this.#connections.delete(grpcAddress);
  }

  keepOnly(grpcAddresses: ReadonlySet<string>): void {
    for (const address of this.#connections.keys()) if (!grpcAddresses.has(address)) this.#connections.delete(address);
  }

  close(): void {
    this.#connections.clear();
  }

  /** Nothing comes out of a process that is dead. */
  async #unlessDead(connection: Connection): Promise<void> {
    if (this.#caller.process?.dead !== true) return;
    connection.forsake(0);
    await new Promise<never>(() => {});
  }

  /** The calls of a service client as GrpcMembers makes them, on a simulated connection. */
  #callsOn(connection: Connection): ServiceCalls {
    const streaming = (method: keyof Handlers) => (request: object, metadata: Metadata) => {
      if (method === "readRange") this.#caller.onRead?.(request as ReadRangeRequest);
      return connection.call(method, request, metadata);
    };
    const unary = (method: keyof Handlers) => (request: object, metadata: Metadata, _options: unknown, callback: Answered) =>
      answered(connection.call(method, request, metadata), callback);
    const calls = Object.entries(cacheService).map(([name, { responseStream }]) => {
      const method = name as keyof Handlers;
      return [method, responseStream ? streaming(method) : unary(method)];
    });
    return Object.fromEntries(calls) as ServiceCalls;
  }
}

/** Whose channels they are. */
export interface SimulatedCaller extends End {
  /** Called with every read that is sent. */
  readonly onRead?: (request: ReadRangeRequest) => void;
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

/** The ways to all members over the simulated network: all of the real ones' code but channels. */
export function simulatedConnections(network: SimulatedNetwork, caller: SimulatedCaller, clock: Clock): MemberConnections {
  const members = new GrpcMembers(new SimulatedChannels(network, caller), { clock, access: plainAccess });
  return {
    blocks: members,
    calls: members,
    objects: members,
    values: members,
    keepOnly: (addresses) => members.keepOnly(new Set(addresses.map(({ grpcAddress }) => grpcAddress))),
    renew: () => members.keepOnly(new Set()),
    close: () => members.close(),
  };
}
