import type { TlsOptions } from "@frontcache/client";
import { CacheServiceClient, callMetadata, channelCredentials } from "@frontcache/client/grpc";
import { accessOf } from "@frontcache/client/testing";
import {
  authorized,
  type Cache,
  Clients,
  type Clock,
  Cors,
  formatHostPort,
  type GivenFlags,
  GrpcListener,
  HttpListener,
  knowsNoObjects,
  type Log,
  type ManualClock,
  MemberSecurity,
  MemoryCache,
  objectSite,
  PREFIXED,
  readSettings,
  silentLog,
  systemClock,
  textPage,
} from "@frontcache/server/testing";
import { Client, type Metadata, type ServiceError, status } from "@grpc/grpc-js";

export const URL = "s3://bucket/object";
export const BYTES = "the object's bytes";

/** The credentials of a caller. */
export interface Shown {
  readonly tls?: TlsOptions;
  readonly token?: string | undefined;
}

/** All listeners of a member with configured security, serving one object in memory. */
export class ListenersUnderTest implements AsyncDisposable {
  readonly security: MemberSecurity;
  readonly clients: Clients;
  readonly grpc: GrpcListener;
  readonly http: HttpListener;
  readonly s3: HttpListener;

  readonly cache = new MemoryCache();
  readonly #clients: Client[] = [];

  /** How many requests have reached the cache. */
  reached = 0;

  private constructor(
    { security, clients }: Pick<ListenersUnderTest, "security" | "clients">,
    { grpc, http, s3 }: Pick<ListenersUnderTest, "grpc" | "http" | "s3">,
  ) {
    this.security = security;
    this.clients = clients;
    this.grpc = grpc;
    this.http = http;
    this.s3 = s3;
  }

  /** `clock` determines when the files are read again, `listenerClock` how long clients are waited for. */
  static async open(
    flags: GivenFlags,
    clock: ManualClock,
    log: Log = silentLog,
    listenerClock: Clock = systemClock,
  ): Promise<ListenersUnderTest> {
    const settings = readSettings(flags, {});
    const security = await MemberSecurity.open(settings, clock, log);
    const clients = new Clients(settings, clock);
    const listen = { tcp: { host: "127.0.0.1", port: 0 } };
    const options = {
      listen,
      drainMs: 1_000,
      security,
      clients,
      clock: listenerClock,
      log: silentLog,
    };
    const grpc = await GrpcListener.open(options);
    const writes = settings.writes !== "off";
    const overHttp = { ...options, writes, socketCalls: undefined, notReadyReasons: () => [] };
    const cors = new Cors(() => undefined);
    const page = textPage("text/plain", () => "status");
    const pages = new Map(["/status", "/metrics"].map((path) => [path, page] as const));
    const http = await HttpListener.open({ ...overHttp, name: "http", site: objectSite(PREFIXED, cors), pages });
    const site = objectSite({ form: "root", domains: settings.s3Domain }, cors);
    const s3 = await HttpListener.open({ ...overHttp, name: "s3", site, pages: new Map() });
    const listeners = new ListenersUnderTest({ security, clients }, { grpc, http, s3 });
    listeners.cache.objects.set(URL, Buffer.from(BYTES));
    const cache = authorized(security.authorization)(listeners.#counted());
    grpc.serve({ cache, members: listeners.cache, objects: knowsNoObjects });
    http.serve(cache);
    s3.serve(cache);
    return listeners;
  }

  #counted(): Cache {
    return {
      open: (request) => {
        this.reached++;
        return this.cache.open(request);
      },
      ask: (question) => {
        this.reached++;
        return this.cache.ask(question);
      },
    };
  }

  get grpcAddress(): string {
    return formatHostPort(this.grpc.address);
  }

  get httpPort(): number {
    return this.http.address.port;
  }

  /** Returns a client of the contract and the metadata of its calls. */
  caller({ tls, token }: Shown): { client: CacheServiceClient; metadata: Metadata } {
    const client = new CacheServiceClient(this.grpcAddress, channelCredentials(tls), { "grpc.use_local_subchannel_pool": 1 });
    this.#clients.push(client);
    return { client, ...this.metadataOf({ token }) };
  }

  /** Returns the metadata of a caller's calls. */
  metadataOf({ token }: Pick<Shown, "token">): { metadata: Metadata } {
    return { metadata: callMetadata(accessOf({ token })) };
  }

  /** Calls any method with the bytes of a protobuf message; resolves with the response or rejects with the error. */
  call({ tls, token }: Shown, path: string, request = Buffer.alloc(0)): Promise<Buffer> {
    const client = new Client(this.grpcAddress, channelCredentials(tls), { "grpc.use_local_subchannel_pool": 1 });
    this.#clients.push(client);
    const metadata = callMetadata(accessOf({ tls, token }));
    const asIs = (bytes: Buffer): Buffer => bytes;
    return new Promise((resolve, reject) => {
      const call = client.makeBidiStreamRequest(path, asIs, asIs, metadata, { deadline: Date.now() + 60_000 });
      call.on("data", resolve);
      call.on("status", ({ code }) => code === status.OK && resolve(Buffer.alloc(0)));
      call.on("error", (error: ServiceError) => reject(error));
      call.write(request);
      call.end();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all([this.grpc.close(), this.http.close(), this.s3.close()]);
    this.clients.close();
    await this.security.close();
  }
}
