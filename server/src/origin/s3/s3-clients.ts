import type { S3Client } from "@aws-sdk/client-s3";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { Credentials } from "../credentials.js";
import { openS3Sdk, type S3Commands, type S3Identity, type S3Options, type S3Sdk } from "./s3-client.js";

/** Buckets whose regions are remembered. A forgotten one costs one redirect. */
const MAX_BUCKETS = 10_000;

/** AWS has about 40. */
const MAX_REGIONS = 100;

/** A region becomes part of a host name, so nothing else may be taken for one. */
const REGION = /^[a-z0-9-]{1,40}$/;

/** A client for one region. */
export interface RegionalClient {
  readonly client: S3Client;
  readonly region: string;
}

/**
 * The SDK's clients, one for each region that has buckets. The SDK follows redirects too, but asks the wrong region first each
 * time, and confuses regions if it does this for several buckets concurrently.
 */
export class S3Clients {
  readonly #sdk: S3Sdk;
  readonly #regionOf = new BoundedMap<string, string>(MAX_BUCKETS);
  readonly #clients = new Map<string, RegionalClient>();

  private constructor(sdk: S3Sdk) {
    this.#sdk = sdk;
  }

  static async open(options: S3Options): Promise<S3Clients> {
    return new S3Clients(await openS3Sdk(options));
  }

  get commands(): S3Commands {
    return this.#sdk.commands;
  }

  /** The client for the bucket's known region, else for the configured one. */
  of(bucket: string): RegionalClient {
    const region = this.#regionOf.peek(bucket) ?? this.#sdk.region;
    let found = this.#clients.get(region);
    if (found === undefined) {
      found = { client: this.#sdk.client(region), region };
      this.#clients.set(region, found);
    }
    return found;
  }

  /** Remembers a bucket's region. Returns whether a request to `askedRegion` must be sent there instead. */
  moved(bucket: string, region: string | undefined, askedRegion: string): boolean {
    if (region === undefined || region === askedRegion || !REGION.test(region)) return false;
    if (!this.#clients.has(region) && this.#clients.size >= MAX_REGIONS) return false;
    this.#regionOf.set(bucket, region);
    return true;
  }

  /** What all clients sign with. */
  get credentials(): Credentials<S3Identity> {
    return this.#sdk.credentials;
  }

  /** Closes all connections. */
  destroy(): void {
    for (const { client } of this.#clients.values()) client.destroy();
    this.#sdk.handler.destroy();
  }
}
