import type { BlockTransport, MemberCalls, ObjectCalls, ValueCalls } from "../ports.js";
import type { ValueTransport } from "../value-transport.js";
import type { GrpcChannelsOptions } from "./grpc-channels.js";
import type { GrpcMembers } from "./grpc-members.js";

/** Calls to members over gRPC that load grpc-js with the first call. */
export interface LazyGrpcMembers extends BlockTransport, MemberCalls, ObjectCalls, ValueCalls {
  /** Clients' requests about values, on the same channels. */
  readonly values: ValueTransport;
  /** Closes the connections to all other members. */
  keepOnly(grpcAddresses: ReadonlySet<string>): void;
  /** Uses new connections for further calls. */
  renew(): void;
}

/** GrpcMembers that loads grpc-js, nearly half of the client's start-up time, with the first call. */
export function lazyGrpcMembers(options: GrpcChannelsOptions): LazyGrpcMembers {
  let members: GrpcMembers | undefined;
  let loading: Promise<Opened> | undefined;
  const open = (): Promise<Opened> => {
    loading ??= openGrpcMembers(options).then((opened) => {
      members = opened.members;
      return opened;
    });
    return loading;
  };
  const load = async (): Promise<GrpcMembers> => (await open()).members;
  return {
    values: {
      ask: async (...call) => (await open()).values.ask(...call),
      send: async (...call) => (await open()).values.send(...call),
      open: async (...call) => (await open()).values.open(...call),
      monitor: async (...call) => (await open()).values.monitor(...call),
    },
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
    close: async () => (await loading)?.members.close(),
  };
}

interface Opened {
  readonly members: GrpcMembers;
  readonly values: ValueTransport;
}

async function openGrpcMembers(options: GrpcChannelsOptions): Promise<Opened> {
  const withdraw = provideRequire();
  try {
    const [{ GrpcChannels }, { GrpcMembers }, { GrpcValues }] = await Promise.all([
      import("./grpc-channels.js"),
      import("./grpc-members.js"),
      import("./grpc-values.js"),
    ]);
    const channels = new GrpcChannels(options);
    const members = new GrpcMembers(channels, options);
    const values = new GrpcValues({
      call: (...of) => members.call(...of),
      valuesAt: (grpcAddress) => channels.valuesAt(grpcAddress),
      metadata: () => members.metadata(),
    });
    return { members, values };
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
