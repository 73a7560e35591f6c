import type { S3Client } from "@aws-sdk/client-s3";
import type { BucketRef } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { OriginAccess } from "../../security/origin-access.js";
import { type BucketPlace, isRedirect, redirectedPlace } from "./bucket-place.js";
import type { S3Sdk } from "./s3-client.js";

/** Buckets whose places are remembered. A forgotten one costs one redirect. */
const MAX_BUCKETS = 10_000;

/** AWS has about 40 regions. */
const MAX_PLACES = 100;

/** Principals with credentials of their own whose clients are kept. A new client costs 2 ms. */
const MAX_ACCESSES = 1_000;

/** A client for one place, and for one principal with credentials of its own. */
export interface PlacedClient {
  readonly client: S3Client;
  readonly place: BucketPlace;
  /** Absent: it signs with the members' credentials. */
  readonly access?: OriginAccess | undefined;
}

/**
 * The SDK's clients, one for each place that has buckets. The SDK follows redirects too, but asks the wrong region first each time,
 * and confuses regions if it does this for several buckets concurrently.
 */
export class S3Clients {
  readonly #sdk: S3Sdk;
  readonly #placeOf = new BoundedMap<string, BucketPlace>(MAX_BUCKETS);
  /** The places that redirects have named. */
  readonly #places = new Set<string>();
  readonly #clients = new Map<string, PlacedClient>();
  /** The clients of principals, by place. They have no connections of their own. */
  readonly #byAccess = new BoundedMap<OriginAccess, Map<string, PlacedClient>>(MAX_ACCESSES);

  constructor(sdk: S3Sdk) {
    this.#sdk = sdk;
  }

  /** The client for the bucket's known place, else for the configured one. */
  of(bucket: string, access?: OriginAccess): PlacedClient {
    const place = this.#placeOf.peek(bucket) ?? { region: this.#sdk.region, endpoint: undefined };
    const key = keyOf(place);
    const clients = access === undefined ? this.#clients : this.#clientsOf(access);
    let found = clients.get(key);
    if (found === undefined) {
      found = { client: this.#sdk.client(place, access), place, access };
      clients.set(key, found);
    }
    return found;
  }

  #clientsOf(access: OriginAccess): Map<string, PlacedClient> {
    let clients = this.#byAccess.get(access);
    if (clients === undefined) {
      clients = new Map();
      this.#byAccess.set(access, clients);
    }
    return clients;
  }

  /**
   * Remembers the place that a redirect names for a bucket, if it is at the same provider. Returns whether a request that `asked`
   * sent must be sent there instead.
   */
  async moved(ref: Pick<BucketRef, "bucket">, error: unknown, asked: PlacedClient): Promise<boolean> {
    if (!isRedirect(error)) return false;
    const place = redirectedPlace(error, ref, asked.place, await customEndpointOf(asked.client));
    if (place === undefined || (!this.#places.has(keyOf(place)) && this.#places.size >= MAX_PLACES)) return false;
    this.#places.add(keyOf(place));
    this.#placeOf.set(ref.bucket, place);
    return true;
  }

  /** Closes all connections. */
  destroy(): void {
    for (const { client } of this.#clients.values()) client.destroy();
    this.#sdk.http.close();
  }
}

function keyOf({ region, endpoint = "" }: BucketPlace): string {
  return `${region} ${endpoint}`;
}

/** The endpoint that a client has sent a request to, from options, environment or profile; undefined: AWS's own. */
async function customEndpointOf({ config }: S3Client): Promise<URL | undefined> {
  if (config.isCustomEndpoint !== true) return undefined;
  const endpoint = await config.endpoint?.();
  if (endpoint === undefined) return undefined;
  const { protocol, hostname, port } = endpoint;
  return new URL(`${protocol}//${hostname}${port === undefined ? "" : `:${port}`}`);
}
