import { createRequire } from "node:module";
import {
  type Server,
  type ServerDuplexStream,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";

/** Reflection serves the contract from a file of the proto package. */
const PROTO_PATH = createRequire(import.meta.url).resolve("@frontcache/proto/cache.proto");

const VERSIONS = ["v1", "v1alpha"] as const;

type Call = ServerDuplexStream<Buffer, Buffer>;

/** A version of the service as its package implements it. */
interface Implementation {
  readonly service: ServiceDefinition;
  readonly handlers: UntypedServiceImplementation;
}

/**
 * Adds the services that describe the contract to tools such as grpcurl. Their package parses three files and indexes each of their
 * symbols, which takes a fifth of a member's start, so it is loaded with the first call.
 */
export function addReflection(
  server: Pick<Server, "addService">,
  authenticatedOnly: (handlers: UntypedServiceImplementation) => UntypedServiceImplementation,
): void {
  let loading: Promise<ReadonlyMap<string, Implementation>> | undefined;
  for (const version of VERSIONS) {
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const ServerReflectionInfo = (call: Call): void => {
      loading ??= loadImplementations();
      loading.then(
        (implementations) => answer(call, implementations.get(path)!),
        (error) => fail(call, error),
      );
    };
    server.addService({ ServerReflectionInfo: streamOfBytes(path) }, authenticatedOnly({ ServerReflectionInfo }));
  }
}

/** A method whose messages stay bytes. */
function streamOfBytes(path: string): ServiceDefinition[string] {
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

async function loadImplementations(): Promise<ReadonlyMap<string, Implementation>> {
  const [{ loadSync }, { ReflectionService }, { protoPath }] = await Promise.all([
    import("@grpc/proto-loader"),
    import("@grpc/reflection"),
    import("grpc-health-check"),
  ]);
  const found = new Map<string, Implementation>();
  new ReflectionService(loadSync([PROTO_PATH, protoPath])).addToServer({
    addService: (service, handlers) => found.set(service.ServerReflectionInfo!.path, { service, handlers }),
  });
  return found;
}

/** Lets the package answer a call, whose messages it expects as objects. */
function answer(call: Call, { service, handlers }: Implementation): void {
  const { requestDeserialize, responseSerialize } = service.ServerReflectionInfo!;
  const parsed = (listener: (message: unknown) => void) => (bytes: Buffer) => {
    try {
      listener(requestDeserialize(bytes));
    } catch (error) {
      fail(call, error);
    }
  };
  const stream = {
    on: (event: string, listener: (message: unknown) => void) => call.on(event, event === "data" ? parsed(listener) : listener),
    write: (message: unknown) => call.write(responseSerialize(message)),
    end: () => call.end(),
  };
  (handlers.ServerReflectionInfo as (stream: object) => void)(stream);
}

function fail(call: Call, error: unknown): void {
  call.emit("error", { code: status.INTERNAL, details: String(error) });
}
