import type { S3Client } from "@aws-sdk/client-s3";
import { EMPTY_SHA256, type SigningScope } from "../../security/signatures/signer.js";
import type { S3Commands } from "./s3-client.js";

/** How requests for a bucket's objects are sent from a place. */
export interface BucketAddress {
  /** `http(s)://host[:port]` */
  readonly target: string;
  /** The value of the Host header. */
  readonly host: string;
  /** Precedes `/key` in paths: `/bucket` in path style, empty in virtual-host style, after the path of the endpoint. */
  readonly prefix: string;
  /** Undefined: requests are not signed. */
  readonly scope: SigningScope | undefined;
  readonly payloadHash: string;
}

/** A request as the SDK has prepared it. */
interface Prepared {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

const KEY = "k";

/** The credential of a signature: an access key ID may contain slashes. */
const CREDENTIAL = /^AWS4-HMAC-SHA256 Credential=.+\/\d{8}\/([^/]+)\/([^/]+)\/aws4_request,/;

/**
 * Has the SDK prepare a request for an object of the bucket and takes over how it is addressed and signed: path style, virtual
 * hosts, dual-stack, FIPS, access points and custom endpoints are the SDK's decisions. Nothing is sent. An empty bucket is the
 * store itself. Undefined: the request is signed in a way that only the SDK knows.
 */
export async function addressOf(
  client: S3Client,
  { GetObjectCommand, ListBucketsCommand }: S3Commands,
  bucket: string,
): Promise<BucketAddress | undefined> {
  const command = (
    bucket === "" ? new ListBucketsCommand({}) : new GetObjectCommand({ Bucket: bucket, Key: KEY })
  ) as InstanceType<S3Commands["GetObjectCommand"]>;
  let prepared: Prepared | undefined;
  const take = () => async (args: { request: unknown }) => {
    prepared = args.request as Prepared;
    return { output: { $metadata: {} }, response: { headers: {} } };
  };
  // Outside of what sends a request and reads its answer, inside of what signs it.
  command.middlewareStack.add(take as never, { step: "deserialize", priority: "high", name: "takePrepared" });
  await client.send(command);
  const { protocol, hostname, port, path, headers } = prepared!;
  const { host = hostname, authorization, "x-amz-content-sha256": payloadHash = EMPTY_SHA256 } = headers;
  const target = `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}`;
  const address = { target, host, prefix: path.slice(0, -(bucket === "" ? 1 : KEY.length + 1)), payloadHash };
  if (authorization === undefined) return { ...address, scope: undefined };
  const [, region, service] = CREDENTIAL.exec(authorization) ?? [];
  if (region === undefined || service === undefined || headers["x-amz-s3session-token"] !== undefined) return undefined;
  return { ...address, scope: { region, service } };
}
