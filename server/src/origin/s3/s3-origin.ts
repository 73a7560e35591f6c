import type { Readable } from "node:stream";
import type { S3Client } from "@aws-sdk/client-s3";
import {
  abortError,
  CacheError,
  canBeEntityTag,
  entityTagOf,
  type ObjectHeaders,
  type ObjectRef,
  versionOfStoreTag,
} from "@frontcache/proto";
import { BoundedMap, untilAborted } from "@frontcache/proto/runtime";
import { checkedAnswer, checkedInfo, objectHeadersOf, otherVersion } from "../checked-answer.js";
import type { Credentials } from "../credentials.js";
import {
  type Answers,
  type AnswerTo,
  answerBy,
  mayAddRequest,
  type Origin,
  type OriginAnswer,
  type OriginQuestion,
  type OriginRequest,
  type StatQuestion,
} from "../origin.js";
import { responseHeadersOf, type S3Identity, type S3Options } from "./s3-client.js";
import { S3Clients } from "./s3-clients.js";
import { isMissing, lacksCode, remedyOf, s3Error } from "./s3-errors.js";
import { listInput, listingOf } from "./s3-listing.js";

/** Buckets to remember. A forgotten one costs one request more at the next missing object. */
const MAX_BUCKETS = 10_000;

/**
 * Objects through the AWS SDK; a version is an ETag without its quotes. One request per call, without retries. Exceptions: if
 * the answer says that the bucket is in another region or at another endpoint of the same provider, the request is sent there at once,
 * and so are all later ones; if the answer rejects the credentials, the request is sent once more with renewed ones.
 */
export class S3Origin implements Origin {
  readonly #options: S3Options;
  /** Buckets whose objects were found before: a HEAD's 404 is about the object then. */
  readonly #existingBuckets = new BoundedMap<string, true>(MAX_BUCKETS);
  #clients: Promise<S3Clients> | undefined;

  constructor(options: S3Options) {
    this.#options = options;
  }

  async fetch(request: OriginRequest): Promise<OriginAnswer> {
    const { ref, offset, length, version, signal } = request;
    const ifMatch = version === undefined ? undefined : ifMatchOf(ref, version);
    const Range = `bytes=${offset}-${offset + length - 1}`;
    const input = { ...this.#target(ref), Range, ...(ifMatch !== undefined && { IfMatch: ifMatch }) };
    return this.#send(request, async (client, { GetObjectCommand }) => {
      const output = await client.send(new GetObjectCommand(input), { abortSignal: signal });
      const head = {
        status: output.$metadata.httpStatusCode ?? 0,
        contentRange: output.ContentRange,
        contentLength: output.ContentLength,
        version: versionOfStoreTag(output.ETag),
        contentType: output.ContentType,
        lastModifiedMs: output.LastModified?.getTime(),
        headers: this.#headersOf(ref, output),
        lacks: "checksums" as const,
      };
      // In Node the SDK's body is the response itself.
      return checkedAnswer(request, head, output.Body as unknown as Readable);
    });
  }

  ask<Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> {
    return answerBy(this.#answers, question);
  }

  close(): void {
    this.#clients?.then((clients) => clients.destroy()).catch(() => {}); // a client that never opened has nothing to close
    this.#clients = undefined;
  }

  /** Rejects with NOT_FOUND if the object's bucket does not exist. A bucket that cannot be asked for counts as existing. */
  async #checkBucket({ ref, ...question }: StatQuestion): Promise<void> {
    const { url, scheme, bucket } = ref;
    if (!mayAddRequest(question)) return;
    try {
      await this.#answers.statBucket({ ...question, kind: "statBucket", ref: { url, scheme, bucket } });
      this.#existingBuckets.set(bucket, true);
    } catch (error) {
      if (CacheError.from(error).code === "NOT_FOUND") throw error;
    }
  }

  readonly #answers: Answers = {
    stat: (question) =>
      this.#send(question, async (client, { HeadObjectCommand }) => {
        const { ref, signal } = question;
        const command = new HeadObjectCommand({ ...this.#target(ref), ChecksumMode: "ENABLED" });
        const output = await client.send(command, { abortSignal: signal }).catch(async (error: unknown) => {
          if (isMissing(error) && !this.#existingBuckets.has(ref.bucket)) await this.#checkBucket(question);
          throw error;
        });
        this.#existingBuckets.set(ref.bucket, true);
        return checkedInfo(ref, output.ContentLength, {
          version: versionOfStoreTag(output.ETag),
          contentType: output.ContentType,
          lastModifiedMs: output.LastModified?.getTime(),
          headers: this.#headersOf(ref, output),
          lacks: undefined,
        });
      }),
    list: (question) =>
      this.#send(question, async (client, { ListObjectsV2Command }) => {
        const { ref, page, signal } = question;
        const command = new ListObjectsV2Command({ ...listInput(ref, page), ...this.#payer });
        return listingOf(ref, await client.send(command, { abortSignal: signal }));
      }),
    statBucket: (question) =>
      this.#send(question, async (client, { HeadBucketCommand }) => {
        const { ref, signal } = question;
        const output = await client.send(new HeadBucketCommand({ Bucket: ref.bucket }), { abortSignal: signal });
        return { region: output.BucketRegion };
      }),
  };

  /**
   * Sends a request to the bucket's place. Sends it once more if the answer names another place, and once more if the answer
   * rejects the credentials and there are others.
   */
  async #send<Answer>(
    request: OriginRequest | OriginQuestion,
    send: (client: S3Client, commands: S3Clients["commands"]) => Promise<Answer>,
  ): Promise<Answer> {
    const { ref, signal } = request;
    if (signal.aborted) throw abortError(signal);
    try {
      const clients = await this.#open();
      for (let [isMoved, isRenewed] = [false, false]; ; ) {
        const used = await untilAborted(clients.credentials.get(), signal);
        const asked = clients.of(ref.bucket);
        const { client } = asked;
        try {
          return await send(client, clients.commands);
        } catch (thrown) {
          if (signal.aborted) throw thrown;
          const error = await this.#withCode(thrown, request, client, clients.commands);
          if (!isMoved && (await clients.moved(ref, error, asked))) isMoved = true;
          else if (!isRenewed && (await isRemedied(error, clients.credentials, used, signal))) isRenewed = true;
          else throw error;
          if (!mayAddRequest(request)) throw error;
        }
      }
    } catch (error) {
      throw s3Error(error, request);
    }
  }

  /** The error of a HEAD with the code that the same request as a GET is answered with. */
  async #withCode(error: unknown, request: OriginRequest | OriginQuestion, client: S3Client, commands: S3Clients["commands"]) {
    if (!("kind" in request) || request.kind === "list" || !lacksCode(error) || !mayAddRequest(request)) return error;
    const { ref, signal } = request;
    const { GetObjectCommand, ListObjectsV2Command } = commands;
    const options = { abortSignal: signal };
    try {
      if ("key" in ref) {
        const { Body } = await client.send(new GetObjectCommand({ ...this.#target(ref), Range: "bytes=0-0" }), options);
        (Body as unknown as Readable).destroy();
      } else await client.send(new ListObjectsV2Command({ Bucket: ref.bucket, MaxKeys: 1, ...this.#payer }), options);
      return error;
    } catch (withCode) {
      return withCode;
    }
  }

  #headersOf(ref: ObjectRef, output: object): ObjectHeaders | undefined {
    return objectHeadersOf(ref, Object.entries(responseHeadersOf(output)), this.#options.onDroppedHeaders);
  }

  #open(): Promise<S3Clients> {
    this.#clients ??= S3Clients.open(this.#options).catch((error: unknown) => {
      this.#clients = undefined; // the next call tries again
      throw error;
    });
    return this.#clients;
  }

  get #payer(): { RequestPayer?: "requester" } {
    return this.#options.requesterPays ? { RequestPayer: "requester" } : {};
  }

  #target(ref: ObjectRef): { Bucket: string; Key: string; VersionId?: string; RequestPayer?: "requester" } {
    const versioned = /^(.+)\?versionId=([A-Za-z0-9._-]+)$/s.exec(ref.key);
    return {
      Bucket: ref.bucket,
      Key: versioned?.[1] ?? ref.key,
      ...(versioned !== null && { VersionId: versioned[2]! }),
      ...this.#payer,
    };
  }
}

/** Whether a request that failed with `error` can succeed now. Rejects with a CredentialsFailure if new credentials cannot be had. */
async function isRemedied(
  error: unknown,
  credentials: Credentials<S3Identity>,
  used: S3Identity,
  signal: AbortSignal,
): Promise<boolean> {
  const remedy = remedyOf(error);
  if (remedy === "other credentials") return (await untilAborted(credentials.replace(used), signal)) !== undefined;
  return remedy !== undefined;
}

/**
 * The If-Match header for a version. FAILED_PRECONDITION, without a request, for a version that cannot be an entity tag: no object
 * has it.
 */
function ifMatchOf(ref: ObjectRef, version: string): string {
  if (canBeEntityTag(version)) return entityTagOf(version);
  throw otherVersion(ref, version, new CacheError("INVALID_ARGUMENT", "not an ETag"));
}
