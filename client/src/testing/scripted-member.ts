import type {
  EvictRequest,
  EvictResponse,
  MemberList,
  ReadRangeRequest,
  ReadRangeResponse,
  StatRequest,
  StatResponse,
  WatchMembersRequest,
} from "@frontcache/proto";
import {
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { cacheService } from "../members/grpc/service.js";
import { ramp } from "./ramp.js";

/** A read as received by the member. */
export type ReadCall = ServerWritableStream<ReadRangeRequest, ReadRangeResponse>;

/** The handlers of a member; missing methods are UNIMPLEMENTED. */
export interface MemberScript {
  readRange?(call: ReadCall): void;
  stat?: handleUnaryCall<StatRequest, StatResponse>;
  evict?: handleUnaryCall<EvictRequest, EvictResponse>;
  watchMembers?(call: ServerWritableStream<WatchMembersRequest, MemberList>): void;
}

/** A real gRPC server on a free port with scripted handlers. */
export class ScriptedMember {
  readonly address: string;
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.address = `127.0.0.1:${port}`;
  }

  /** Listens on `address`, by default on a free port. */
  static async start(script: MemberScript, address = "127.0.0.1:0"): Promise<ScriptedMember> {
    // Without channelz, grpc-js 1.14 does not track the sessions that forceShutdown ends.
    const server = new Server();
    server.addService(cacheService, script as UntypedServiceImplementation);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return new ScriptedMember(server, port);
  }

  /** Kills it: connections are reset. */
  async kill(): Promise<void> {
    const stopped = this.stop();
    this.#server.forceShutdown();
    await stopped;
  }

  /** Stops listening, and resolves when its clients have closed their connections. */
  async stop(): Promise<void> {
    await new Promise((resolve) => this.#server.tryShutdown(resolve));
  }
}

/** Sends a range of a ramp object of `size` bytes as a member does, in messages of `messageBytes`. */
export function sendRamp(call: ReadCall, size: number, version = "v1", messageBytes = 1_000): void {
  const { offset, length } = call.request;
  const end = Math.min(size, offset + length);
  for (let at = offset; at < end; at += messageBytes) {
    const first = at === offset;
    const data = ramp(at, Math.min(messageBytes, end - at));
    call.write({ data, version: first ? version : "", objectSize: first ? size : 0 });
  }
  call.end();
}
