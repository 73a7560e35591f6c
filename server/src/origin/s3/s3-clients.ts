import type { S3Client } from "@aws-sdk/client-s3";
import { openS3Sdk, type S3Commands, type S3Options, type S3Sdk } from "./s3-client.js";

/** Buckets whose regions are remembered; beyond it the one learned first is forgotten, which costs one redirect. */
const MAX_BUCKETS = 10_000;

/** AWS has about 40. */
const MAX_REGIONS = 100;

/** What becomes a part of a host's name must be nothing else. */
const REGION = /^[a-z0-9-]{1,40}$/;

/** After asking the source of credentials, it is left alone for so long: a denied object must not have it asked for each read. */
const RENEW_INTERVAL_MS = 1_000;

/** A client for one region, with the credentials that it signs with. */
export interface RegionalClient {
  readonly client: S3Client;
  readonly region: string;
  renewal?: { readonly atMs: number; readonly done: Promise<unknown> };
}

/** Who signed a request; compared, never shown. */
export interface Identity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/**
 * The SDK's clients for the regions that buckets turn out to be in. The SDK follows redirects, too, but asks the wrong region
 * first each time, and mixes up regions when it does so for several buckets at a time.
 */
export class S3Clients {
  readonly #sdk: S3Sdk;
  readonly #regionOf = new Map<string, string>();
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

  /** The client for the region that the bucket is known to be in, else for the configured one. */
  of(bucket: string): RegionalClient {
    const region = this.#regionOf.get(bucket) ?? this.#sdk.region;
    let found = this.#clients.get(region);
    if (found === undefined) {
      found = { client: this.#sdk.client(region), region };
      this.#clients.set(region, found);
    }
    return found;
  }

  /** Remembers where a bucket is. Returns whether that is news to who asked `askedRegion`. */
  moved(bucket: string, region: string | undefined, askedRegion: string): boolean {
    if (region === undefined || region === askedRegion || !REGION.test(region)) return false;
    if (!this.#clients.has(region) && this.#clients.size >= MAX_REGIONS) return false;
    this.#regionOf.delete(bucket);
    this.#regionOf.set(bucket, region);
    if (this.#regionOf.size > MAX_BUCKETS) this.#regionOf.delete(this.#regionOf.keys().next().value!);
    return true;
  }

  /** Who a request is signed by now. Rejects with the SDK's errors. */
  identity({ client }: RegionalClient): Promise<Identity> {
    return client.config.credentials();
  }

  /** Has the source of the credentials asked again, files read again; true where they are not `used` any more. Never rejects. */
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

  /** Ends all connections. */
  destroy(): void {
    for (const { client } of this.#clients.values()) client.destroy();
    this.#sdk.handler.destroy();
  }
}
