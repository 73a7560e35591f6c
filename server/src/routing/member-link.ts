import {
  CacheError,
  CacheServiceClient,
  type EvictRequest,
  type EvictResponse,
  errorCodeOfGrpc,
  type MemberInfo,
  type ObjectInfo,
  type ReadRangeRequest,
  type ReadRangeResponse,
  readingChannelOptions,
} from "@frontcache/proto";
import { type ClientReadableStream, connectivityState, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";

/** How long a member may take to accept a connection before it counts as out of reach. */
const CONNECT_TIMEOUT_MS = 1_000;

/** A member could not be reached at all, or its connection broke: another one may answer. */
export class OutOfReach extends CacheError {
  constructor(member: MemberInfo, cause: unknown) {
    super("UNAVAILABLE", `member ${member.name} at ${member.grpcAddress} is out of reach`, { cause });
  }
}

/** The gRPC channel to one member at one address. */
export class MemberLink {
  readonly #client: CacheServiceClient;

  constructor(readonly member: MemberInfo) {
    this.#client = new CacheServiceClient(member.grpcAddress, credentials.createInsecure(), {
      ...readingChannelOptions,
      // A pool of its own, so that closing it really closes the connection, and one member's trouble stays its own.
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  get connected(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === connectivityState.READY;
  }

  /** Resolves when connected; rejects with OutOfReach when that takes too long. */
  connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(Date.now() + CONNECT_TIMEOUT_MS, (error) => {
        if (error === undefined) resolve();
        else reject(new OutOfReach(this.member, error));
      });
    });
  }

  readRange(request: ReadRangeRequest): ClientReadableStream<ReadRangeResponse> {
    return this.#client.readRange(request);
  }

  /** What the member knows of an object; a version of "" asks for the current one. */
  stat(url: string, version: string, timeoutMs: number): Promise<ObjectInfo> {
    return new Promise((resolve, reject) => {
      this.#client.stat({ key: url, version }, new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
        if (error !== null) return reject(this.error(error));
        const { objectSize, contentType, lastModifiedMs } = response;
        const info: ObjectInfo = { version: response.version, objectSize };
        resolve({ ...info, ...(contentType === "" ? {} : { contentType }), ...(lastModifiedMs === 0 ? {} : { lastModifiedMs }) });
      });
    });
  }

  evict(request: EvictRequest, timeoutMs: number): Promise<EvictResponse> {
    return new Promise((resolve, reject) => {
      this.#client.evict(request, new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
        if (error === null) resolve(response);
        else reject(this.error(error));
      });
    });
  }

  /** What a failed call means: the connection's trouble, or the answering member's own error. */
  error(error: Error): CacheError {
    if (error instanceof CacheError) return error;
    const { code, details, metadata } = error as ServiceError;
    // UNAVAILABLE is also what a member answers whose origin is out of reach: that must not make the member look dead.
    const answered = metadata?.get(ANSWERED).length > 0;
    if (code === undefined || (code === status.UNAVAILABLE && !answered)) return new OutOfReach(this.member, error);
    return new CacheError(errorCodeOfGrpc(code), details, { cause: error });
  }

  close(): void {
    this.#client.close();
  }
}

/** Trailer of every error that a member itself answers with. */
export const ANSWERED = "frontcache-answered";
