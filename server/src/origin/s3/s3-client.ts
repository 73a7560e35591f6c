import type { S3Client, S3ClientConfig } from "@aws-sdk/client-s3";
import type { HttpClient } from "@frontcache/client/http";
import { systemClock } from "../../runtime/clock.js";
import type { OriginAccess, OriginAccesses, OriginKeys } from "../../security/origin-access.js";
import type { OnDroppedHeaders } from "../checked-answer.js";
import { Credentials } from "../credentials.js";
import { trusting } from "../http/authorities.js";
import { originClient } from "../http/origin-client.js";
import type { Way } from "../http/way.js";
import type { BucketPlace } from "./bucket-place.js";
import { S3HttpHandler } from "./s3-http-handler.js";

/** How to reach S3 or a compatible store. */
export interface S3Options {
  /** `http(s)://host[:port]`; undefined: the SDK's own choice, AWS_ENDPOINT_URL_S3 included. */
  readonly endpoint: string | undefined;
  /** Undefined: the SDK's own choice (AWS_REGION, the profile), else us-east-1. */
  readonly region: string | undefined;
  /** `http://host/bucket/key` in place of `http://bucket.host/key`. */
  readonly forcePathStyle: boolean;
  /** `default` is the SDK's chain; `anonymous` signs nothing. */
  readonly credentials: "default" | "anonymous" | { readonly profile: string } | OriginKeys;
  /** Credentials of principals' own, which sign their requests. Absent: no principal has any. */
  readonly accesses?: OriginAccesses | undefined;
  /** Who sends GETs and HEADs of objects: `auto` is this member's own client; `sdk` is the AWS SDK's. */
  readonly originClient: "auto" | "sdk";
  /** Agrees to pay for reads from requester-pays buckets. */
  readonly requesterPays: boolean;
  /** Upper bound of connections; further requests wait for one. */
  readonly maxConnections: number;
  /** Timeout of opening a connection, or of waiting for a free one. */
  readonly connectTimeoutMs: number;
  /** Timeout of a connection on which nothing moves, before and in the body. */
  readonly idleTimeoutMs: number;
  readonly proxyOf: Way["proxyOf"];
  readonly directSend?: Way["directSend"];
  /** File of certificate authorities (PEM) to trust besides Node's; undefined: AWS_CA_BUNDLE, or the profile's `ca_bundle`. */
  readonly ca: string | undefined;
  readonly onDroppedHeaders: OnDroppedHeaders;
}

/** The region if none is configured; stores other than AWS ignore it. */
const FALLBACK_REGION = "us-east-1";

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** The SDK's commands that are used. */
export type S3Commands = Pick<
  typeof import("@aws-sdk/client-s3"),
  | "GetObjectCommand"
  | "HeadObjectCommand"
  | "HeadBucketCommand"
  | "ListBucketsCommand"
  | "ListObjectsCommand"
  | "ListObjectsV2Command"
>;

/** What requests are signed with; compared, never logged. */
export interface S3Identity extends OriginKeys {
  readonly expiration?: Date;
}

/** The SDK, and the parts that its clients share. */
export interface S3Sdk {
  /** The configured region. */
  readonly region: string;
  /** Sends all requests, those of the SDK's clients, too. */
  readonly http: HttpClient;
  readonly commands: S3Commands;
  readonly credentials: Credentials<S3Identity>;
  /** A client for a place, with the credentials of a principal or with the shared ones. All clients share their connections. */
  client(place: BucketPlace, access?: OriginAccess): S3Client;
}

/** The headers of answers, by the SDK's outputs, which have them in other forms or not at all. */
const headersByOutput = new WeakMap<object, Readonly<Record<string, string>>>();

/** The headers of the answer that an output of the SDK was made of, names in lower case. */
export function responseHeadersOf(output: object): Readonly<Record<string, string>> {
  return headersByOutput.get(output) ?? {};
}

/** Has `responseHeadersOf` know the headers of all answers to a client. */
function keepHeaders(client: S3Client): S3Client {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const { headers } = result.response as { readonly headers?: Readonly<Record<string, string>> };
      if (headers !== undefined) {
        // The SDK renames an Expires header that is not a date.
        const { expiresstring, ...others } = headers;
        headersByOutput.set(
          result.output as object,
          expiresstring === undefined ? others : { ...others, expires: expiresstring },
        );
      }
      return result;
    },
    { step: "deserialize", priority: "high", name: "keepHeaders" },
  );
  return client;
}

/** Imports the SDK, if that has not been done: loading it takes 0.15 s and 20 MB, which a member without S3 saves. */
export function loadS3Sdk() {
  // On Node 20 the SDK prints a warning about its future at every start. Our users decide which version they run.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
  return import("@aws-sdk/client-s3");
}

export async function openS3Sdk(options: S3Options): Promise<S3Sdk> {
  const sdk = await loadS3Sdk();
  const { S3Client } = sdk;
  const { proxyOf, directSend } = options;
  const way = { proxyOf, directSend, secureContext: await trusting(options.ca ?? (await authoritiesOfAws(options))) };
  const { maxConnections, connectTimeoutMs: waitTimeoutMs, idleTimeoutMs } = options;
  const http = originClient({ maxConnections, waitTimeoutMs, idleTimeoutMs, way });
  const shared: S3ClientConfig & { ignoreCache: boolean } = {
    forcePathStyle: options.forcePathStyle,
    // `retrying` retries: the SDK does not see a body that ends early, and two retry loops multiply.
    maxAttempts: 1,
    // Ranges have no checksum. Requesting one confuses stores other than AWS.
    responseChecksumValidation: "WHEN_REQUIRED",
    requestChecksumCalculation: "WHEN_REQUIRED",
    logger: silent,
    requestHandler: new S3HttpHandler(http),
    // Reads credential files again when credentials are renewed, because they may have changed.
    ignoreCache: true,
    ...(options.endpoint !== undefined && { endpoint: options.endpoint }),
  };
  const config = { ...shared, ...credentialsConfig(options.credentials) };
  const region = options.region ?? (await defaultRegion(S3Client, config));
  const source = new S3Client({ ...config, region }).config;
  const credentials = new Credentials<S3Identity>(
    {
      load: () => source.credentials({ forceRefresh: true }),
      expiryMs: ({ expiration }) => expiration?.getTime(),
      isSame: (one, other) =>
        one.accessKeyId === other.accessKeyId &&
        one.secretAccessKey === other.secretAccessKey &&
        one.sessionToken === other.sessionToken,
    },
    systemClock,
  );
  // `memoized`: the SDK asks for each request, in place of keeping and renewing a copy of its own.
  const provider = Object.assign(() => credentials.get(), { memoized: true });
  const client = ({ region: of, endpoint }: BucketPlace, access?: OriginAccess) => {
    const signing =
      access === undefined ? { ...config, credentials: provider } : { ...shared, ...credentialsConfig(signingOf(access)) };
    return keepHeaders(new S3Client({ ...signing, region: of, ...(endpoint !== undefined && { endpoint }) }));
  };
  return { region, http, commands: sdk, credentials, client };
}

function signingOf({ credentials }: OriginAccess): S3Options["credentials"] {
  return credentials === "unsigned" ? "anonymous" : credentials;
}

function credentialsConfig(credentials: S3Options["credentials"]): S3ClientConfig {
  if (credentials === "default") return {};
  // Some of the SDK's steps need credentials even though nothing is signed with them.
  if (credentials === "anonymous") {
    return { signer: { sign: async (request) => request }, credentials: { accessKeyId: "anonymous", secretAccessKey: "" } };
  }
  if ("profile" in credentials) return { profile: credentials.profile };
  return { credentials };
}

/** The file that AWS's tools trust: AWS_CA_BUNDLE, or `ca_bundle` of the profile. */
async function authoritiesOfAws({ credentials }: S3Options): Promise<string | undefined> {
  const { loadConfig } = await import("@smithy/core/config");
  const profile = typeof credentials === "object" && "profile" in credentials ? { profile: credentials.profile } : {};
  const selectors = {
    environmentVariableSelector: ({ AWS_CA_BUNDLE }: Record<string, string | undefined>) => AWS_CA_BUNDLE,
    configFileSelector: ({ ca_bundle }: Record<string, string | undefined>) => ca_bundle,
    default: "",
  };
  const path = await loadConfig<string>(selectors, { ...profile, ignoreCache: true })();
  return path === "" ? undefined : path;
}

/** The region of the environment or of the profile. */
async function defaultRegion(Client: typeof S3Client, config: S3ClientConfig): Promise<string> {
  try {
    return await new Client(config).config.region();
  } catch {
    return FALLBACK_REGION;
  }
}
