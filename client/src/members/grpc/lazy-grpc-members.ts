import type { BlockTransport, MemberCalls, ObjectCalls, ValueCalls } from "../ports.js";
import type { GrpcChannelsOptions } from "./grpc-channels.js";
import type { GrpcMembers } from "./grpc-members.js";

/** Calls to members over gRPC that load grpc-js with the first call. */
export interface LazyGrpcMembers extends BlockTransport, MemberCalls, ObjectCalls, ValueCalls {
  /** Closes the connections to all other members. */
  keepOnly(grpcAddresses: ReadonlySet<string>): void;
  /** Uses new connections for further calls. */
  renew(): void;
}

/** GrpcMembers that loads grpc-js, nearly half of the client's start-up time, with the first call. */
export function lazyGrpcMembers(options: GrpcChannelsOptions): LazyGrpcMembers {
  let members: GrpcMembers | undefined;
  let loading: Promise<GrpcMembers> | undefined;
  const load = (): Promise<GrpcMembers> => {
    loading ??= openGrpcMembers(options).then((opened) => {
      members = opened;
      return opened;
    });
    return loading;
  };
  return {
    read: async (...call) => (members ?? (await load())).read(...call),
    stat: async (...call) => (members ?? (await load())).stat(...call),
    evict: async (...call) => (members ?? (await load())).evict(...call),
    warm: async (...call) => (members ?? (await load())).warm(...call),
    touch: async (...call) => (members ?? (await load())).touch(...call),
    lookUpRecords: async (...call) => (members ?? (await load())).lookUpRecords(...call),
    renewLeases: async (...call) => (members ?? (await load())).renewLeases(...call),
    versionChanged: async (...call) => (members ?? (await load())).versionChanged(...call),
    handOver: async (...call) => (members ?? (await load())).handOver(...call),
    callValues: async (...call) => (members ?? (await load())).callValues(...call),
    watchValues: async (...call) => (members ?? (await load())).watchValues(...call),
    watchMembers: async (...call) => (members ?? (await load())).watchMembers(...call),
    probe: async (...call) => (members ?? (await load())).probe(...call),
    keepOnly: (grpcAddresses) => members?.keepOnly(grpcAddresses),
    renew: () => members?.keepOnly(new Set()),
    close: async () => (await loading)?.close(),
  };
}

async function openGrpcMembers(options: GrpcChannelsOptions): Promise<GrpcMembers> {
  const withdraw = provideRequire();
  try {
    const [channels, members] = await Promise.all([import("./grpc-channels.js"), import("./grpc-members.js")]);
    return new members.GrpcMembers(new channels.GrpcChannels(options), options);
  } finally {
    withdraw();
  }
}

/**
 * Supports ES module bundles. esbuild turns a `require` of `http2` inside a CommonJS package such as grpc-js into a call of a
 * global `require`, which ES modules lack. This function provides one for modules of Node.js while grpc-js is loaded. Returns a
 * function that removes it.
 */
function provideRequire(): () => void {
  const scope: { require?: unknown } = globalThis;
  if (scope.require !== undefined) return () => {};
  scope.require = process.getBuiltinModule;
  return () => {
    delete scope.require;
  };
}
