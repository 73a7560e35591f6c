import type { Query } from "../../runtime/query.js";

/** What a request is about: all buckets, one bucket, or one object. */
export type Scope = "service" | "bucket" | "object";

/**
 * The operations of S3 by scope, sub-resource and method. The sub-resource is the parameter of the query that selects the operation;
 * the empty one stands for a query without any. An operation that this server does not answer is listed, too, so that it is refused by
 * its name and never taken for a read of the object or a listing of the bucket.
 */
const operations = {
  service: { "": { GET: "ListBuckets" } },
  bucket: {
    "": { GET: "ListObjects", HEAD: "HeadBucket", PUT: "CreateBucket", DELETE: "DeleteBucket", POST: "PostObject" },
    abac: { GET: "GetBucketAbac", PUT: "PutBucketAbac" },
    accelerate: { GET: "GetBucketAccelerateConfiguration", PUT: "PutBucketAccelerateConfiguration" },
    acl: { GET: "GetBucketAcl", PUT: "PutBucketAcl" },
    analytics: {
      GET: "GetBucketAnalyticsConfiguration",
      PUT: "PutBucketAnalyticsConfiguration",
      DELETE: "DeleteBucketAnalyticsConfiguration",
    },
    cors: { GET: "GetBucketCors", PUT: "PutBucketCors", DELETE: "DeleteBucketCors" },
    delete: { POST: "DeleteObjects" },
    encryption: { GET: "GetBucketEncryption", PUT: "PutBucketEncryption", DELETE: "DeleteBucketEncryption" },
    "intelligent-tiering": {
      GET: "GetBucketIntelligentTieringConfiguration",
      PUT: "PutBucketIntelligentTieringConfiguration",
      DELETE: "DeleteBucketIntelligentTieringConfiguration",
    },
    inventory: {
      GET: "GetBucketInventoryConfiguration",
      PUT: "PutBucketInventoryConfiguration",
      DELETE: "DeleteBucketInventoryConfiguration",
    },
    lifecycle: {
      GET: "GetBucketLifecycleConfiguration",
      PUT: "PutBucketLifecycleConfiguration",
      DELETE: "DeleteBucketLifecycle",
    },
    location: { GET: "GetBucketLocation" },
    logging: { GET: "GetBucketLogging", PUT: "PutBucketLogging" },
    metadataConfiguration: {
      GET: "GetBucketMetadataConfiguration",
      POST: "CreateBucketMetadataConfiguration",
      DELETE: "DeleteBucketMetadataConfiguration",
    },
    metadataInventoryTable: { PUT: "UpdateBucketMetadataInventoryTableConfiguration" },
    metadataJournalTable: { PUT: "UpdateBucketMetadataJournalTableConfiguration" },
    metadataTable: {
      GET: "GetBucketMetadataTableConfiguration",
      POST: "CreateBucketMetadataTableConfiguration",
      DELETE: "DeleteBucketMetadataTableConfiguration",
    },
    metrics: {
      GET: "GetBucketMetricsConfiguration",
      PUT: "PutBucketMetricsConfiguration",
      DELETE: "DeleteBucketMetricsConfiguration",
    },
    notification: { GET: "GetBucketNotificationConfiguration", PUT: "PutBucketNotificationConfiguration" },
    "object-lock": { GET: "GetObjectLockConfiguration", PUT: "PutObjectLockConfiguration" },
    ownershipControls: {
      GET: "GetBucketOwnershipControls",
      PUT: "PutBucketOwnershipControls",
      DELETE: "DeleteBucketOwnershipControls",
    },
    policy: { GET: "GetBucketPolicy", PUT: "PutBucketPolicy", DELETE: "DeleteBucketPolicy" },
    policyStatus: { GET: "GetBucketPolicyStatus" },
    publicAccessBlock: { GET: "GetPublicAccessBlock", PUT: "PutPublicAccessBlock", DELETE: "DeletePublicAccessBlock" },
    replication: { GET: "GetBucketReplication", PUT: "PutBucketReplication", DELETE: "DeleteBucketReplication" },
    requestPayment: { GET: "GetBucketRequestPayment", PUT: "PutBucketRequestPayment" },
    session: { GET: "CreateSession" },
    tagging: { GET: "GetBucketTagging", PUT: "PutBucketTagging", DELETE: "DeleteBucketTagging" },
    uploads: { GET: "ListMultipartUploads" },
    versioning: { GET: "GetBucketVersioning", PUT: "PutBucketVersioning" },
    versions: { GET: "ListObjectVersions" },
    website: { GET: "GetBucketWebsite", PUT: "PutBucketWebsite", DELETE: "DeleteBucketWebsite" },
  },
  object: {
    "": { GET: "GetObject", HEAD: "HeadObject", PUT: "PutObject", DELETE: "DeleteObject" },
    acl: { GET: "GetObjectAcl", PUT: "PutObjectAcl" },
    attributes: { GET: "GetObjectAttributes" },
    encryption: { PUT: "UpdateObjectEncryption" },
    "legal-hold": { GET: "GetObjectLegalHold", PUT: "PutObjectLegalHold" },
    renameObject: { PUT: "RenameObject" },
    restore: { POST: "RestoreObject" },
    retention: { GET: "GetObjectRetention", PUT: "PutObjectRetention" },
    select: { POST: "SelectObjectContent" },
    tagging: { GET: "GetObjectTagging", PUT: "PutObjectTagging", DELETE: "DeleteObjectTagging" },
    torrent: { GET: "GetObjectTorrent" },
    uploadId: { GET: "ListParts", PUT: "UploadPart", POST: "CompleteMultipartUpload", DELETE: "AbortMultipartUpload" },
    uploads: { POST: "CreateMultipartUpload" },
  },
} as const satisfies Record<Scope, Record<string, Partial<Record<Method, string>>>>;

type Method = "GET" | "HEAD" | "PUT" | "POST" | "DELETE";

type OperationsOf<S extends Scope> = {
  [Sub in keyof (typeof operations)[S]]: (typeof operations)[S][Sub][keyof (typeof operations)[S][Sub]];
}[keyof (typeof operations)[S]];

/** The operations of a scope. */
export type ServiceOperation = OperationsOf<"service">;
export type BucketOperation = OperationsOf<"bucket"> | "ListObjectsV2";
export type ObjectOperation = OperationsOf<"object">;
export type Operation = ServiceOperation | BucketOperation | ObjectOperation;

/** Parameters that select no operation, of all scopes. All others of the form of a sub-resource are refused. */
const PARAMETERS = new Set([
  ...[
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "encoding-type",
    "continuation-token",
    "start-after",
    "fetch-owner",
    "list-type",
  ],
  ...["key-marker", "version-id-marker", "upload-id-marker", "max-uploads", "max-parts", "part-number-marker", "allow-unordered"],
  ...["versionId", "generation", "partNumber", "max-buckets", "bucket-region", "id", "select-type", "alt", "userProject"],
  ...["Expires", "Signature", "AWSAccessKeyId", "GoogleAccessId", "append", "position", "policy-status"],
]);

/** The form of S3's sub-resources. */
const SUBRESOURCE_FORM = /^(?=.{1,64}$)(?!x-|response-)[a-z][A-Za-z]*(?:-[a-z]+)*$/;

/** The operation of a request, or the reason why the request is refused. */
export type Recognized =
  | { readonly kind: "operation"; readonly operation: Operation }
  /** A sub-resource that S3 had not defined when this was written. */
  | { readonly kind: "unknown"; readonly subresource: string }
  /** Two sub-resources. */
  | { readonly kind: "conflict"; readonly subresources: readonly string[] }
  /** The sub-resource, or the scope, does not have the method. */
  | { readonly kind: "method"; readonly allowed: readonly string[] };

/** The first sub-resource in a query that a scope has. Undefined: none. */
export function subresourceOf(scope: Scope, query: Query): string | undefined {
  for (const name of query.names()) if (name !== "" && Object.hasOwn(operations[scope], name)) return name;
  return undefined;
}

/** Recognizes the operation of a request. Parameters that are not sub-resources are ignored. */
export function recognize(method: string, scope: Scope, query: Query): Recognized {
  const known: Readonly<Record<string, Partial<Record<string, Operation>>>> = operations[scope];
  const found: string[] = [];
  let unknown: string | undefined;
  for (const name of query.names()) {
    if (name !== "" && Object.hasOwn(known, name)) found.push(name);
    else if (query.isBare(name) && SUBRESOURCE_FORM.test(name) && !PARAMETERS.has(name)) unknown ??= name;
  }
  if (unknown !== undefined) return { kind: "unknown", subresource: unknown };
  if (found.length > 1) return { kind: "conflict", subresources: found };
  const [subresource = ""] = found;
  const byMethod = known[subresource]!;
  const operation = Object.hasOwn(byMethod, method) ? byMethod[method] : undefined;
  if (operation === undefined) return { kind: "method", allowed: Object.keys(byMethod) };
  return { kind: "operation", operation: operation === "ListObjects" && query.has("list-type") ? "ListObjectsV2" : operation };
}
