import type { Cache } from "../../routing/cache.js";
import type { HttpContext } from "../http/http-context.js";
import { answerBucket } from "./bucket-answer.js";
import { type ErrorResponse, notImplemented } from "./error-response.js";
import { answerObject } from "./object-answer.js";
import type { BucketOperation, ObjectOperation, Operation, ServiceOperation } from "./operations.js";
import { answerPassed } from "./passed-operation.js";
import type { BucketTarget, ObjectTarget, S3Target, ServiceTarget } from "./request-target.js";
import { answerBuckets } from "./service-answer.js";
import { answerWrite } from "./writes/write-answer.js";

/** Answers one operation. Never throws. */
type Answerer<Target extends S3Target> = (context: HttpContext, cache: Cache, target: Target, operation: Operation) => void;

type Answerers<Name extends Operation, Target extends S3Target> = { readonly [Each in Name]?: Answerer<Target> };

/** The operations that are answered, by name. All others of S3 are refused. */
const service: Answerers<ServiceOperation, ServiceTarget> = { ListBuckets: answerBuckets };

const bucket: Answerers<BucketOperation, BucketTarget> = {
  GetBucketLocation: answerBucket,
  HeadBucket: answerBucket,
  ListObjects: answerBucket,
  ListObjectsV2: answerBucket,
  GetBucketAbac: answerPassed,
  GetBucketAccelerateConfiguration: answerPassed,
  GetBucketAcl: answerPassed,
  GetBucketAnalyticsConfiguration: answerPassed,
  GetBucketCors: answerPassed,
  GetBucketEncryption: answerPassed,
  GetBucketIntelligentTieringConfiguration: answerPassed,
  GetBucketInventoryConfiguration: answerPassed,
  GetBucketLifecycleConfiguration: answerPassed,
  GetBucketLogging: answerPassed,
  GetBucketMetadataConfiguration: answerPassed,
  GetBucketMetadataTableConfiguration: answerPassed,
  GetBucketMetricsConfiguration: answerPassed,
  GetBucketNotificationConfiguration: answerPassed,
  GetBucketOwnershipControls: answerPassed,
  GetBucketPolicy: answerPassed,
  GetBucketPolicyStatus: answerPassed,
  GetBucketReplication: answerPassed,
  GetBucketRequestPayment: answerPassed,
  GetBucketTagging: answerPassed,
  GetBucketVersioning: answerPassed,
  GetBucketWebsite: answerPassed,
  GetObjectLockConfiguration: answerPassed,
  GetPublicAccessBlock: answerPassed,
  ListMultipartUploads: answerPassed,
  ListObjectVersions: answerPassed,
};

const object: Answerers<ObjectOperation, ObjectTarget> = {
  GetObject: answerObject,
  HeadObject: answerObject,
  GetObjectAcl: answerPassed,
  GetObjectAttributes: answerPassed,
  GetObjectLegalHold: answerPassed,
  GetObjectRetention: answerPassed,
  GetObjectTagging: answerPassed,
  GetObjectTorrent: answerPassed,
  ListParts: answerPassed,
};

/** Answers an operation of S3, or returns the error of one that is not supported. */
export function answerOperation(
  context: HttpContext,
  cache: Cache,
  operation: Operation,
  target: S3Target,
): ErrorResponse | undefined {
  switch (target.scope) {
    case "service":
      return answered(service, context, cache, operation, target);
    case "bucket":
      return answered(bucket, context, cache, operation, target);
    case "object":
      return answered(object, context, cache, operation, target);
  }
}

function answered<Target extends S3Target>(
  answerers: Partial<Record<Operation, Answerer<Target>>>,
  context: HttpContext,
  cache: Cache,
  operation: Operation,
  target: Target,
): ErrorResponse | undefined {
  const { method } = context.request;
  const answer = method === "GET" || method === "HEAD" ? answerers[operation] : answerWrite;
  if (answer === undefined) return notImplemented(operation);
  answer(context, cache, target, operation);
  return undefined;
}
