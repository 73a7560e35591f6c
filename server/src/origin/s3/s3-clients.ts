import type { S3Client } from "@aws-sdk/client-s3";
import { BoundedMap } from "@frontcache/proto/runtime";
import { openS3Sdk, type S3Commands, type S3Options, type S3Sdk } from "./s3-client.js";

/** Buckets whose regions are remembered. A forgotten one costs one redirect. */
const MAX_BUCKETS = 10_000;

/** AWS has about 40. */
const MAX_REGIONS = 100;

/** A region becomes part of a host name, so nothing else may be taken for one. */
const REGION = /^[a-z0-9-]{1,40}$/;

/** Minimum time between two renewals of credentials: denied objects must not cause one for each read. */
const RENEW_INTERVAL_MS = 1_000;

/** A client for one region, with the credentials that it signs with. */
export interface RegionalClient {
  readonly client: S3Client;
  readonly region: string;
  renewal?: { readonly atMs: number; readonly done: Promise<unknown> };
}

/** The credentials that signed a request; compared, never logged. */
export interface Identity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
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

  /** The credentials that a request is signed with now. Rejects with the SDK's errors. */
  identity({ client }: RegionalClient): Promise<Identity> {
    return client.config.credentials();
  }

  /** Renews the credentials from their source, files included. True if they differ from `used` then. Never rejects. */
  async renewed(regional: RegionalClient, used: Identity, nowMs: number): Promise<boolean> {
    const { client, renewal } = regional;
    if (renewal === undefined || nowMs - renewal.atMs >= RENEW_INTERVAL_MS) {
      regional.renewal = { atMs: nowMs, done: client.config.credentials({ forceRefresh: true }).catch(() => {}) };
    }
    await regional.renewal!.done;
    const now = await this.identity(regional).catch(() => used);
    return (
      now.accessKeyId !== used.accessKeyId ||
      now.secretAccessKey !== used.secretAccessKey ||
      now.sessionToken !== used.sessionToken
    );
  }

  /** Closes all connections. */
  destroy(): void {
    for (const { client } of this.#clients.values()) client.destroy();
    this.#sdk.handler.destroy();
  }
}
