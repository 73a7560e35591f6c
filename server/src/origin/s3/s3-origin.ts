import type { Readable } from "node:stream";
import type { ListObjectsCommandInput, ListObjectsV2CommandInput } from "@aws-sdk/client-s3";
import { abortError, CacheError } from "@frontcache/proto";
import { BoundedMap } from "@frontcache/proto/runtime";
import type { OriginAccess } from "../../security/origin-access.js";
import { DeniedToPrincipal } from "../checked-answer.js";
import { inTime } from "../credentials.js";
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
  type WriteAnswer,
  type WriteRequest,
} from "../origin.js";
import { SentWrite } from "../sent-write.js";
import { type Attempt, type ObjectRequests, versionedKeyOf } from "./object-requests.js";
import { openS3Sdk, type S3Identity, type S3Options, type S3Sdk } from "./s3-client.js";
import { type PlacedClient, S3Clients } from "./s3-clients.js";
import { isMissing, isRemediable, lacksCode, remedyOf, s3Error } from "./s3-errors.js";
import { bucketListOf, listObjects } from "./s3-listing.js";
import { S3Refusal } from "./s3-refusal.js";
import { SdkObjectRequests } from "./sdk-object-requests.js";
import { SignedObjectRequests } from "./signed-object-requests.js";

/** Buckets to remember. A forgotten one costs one request more at the next missing object. */
const MAX_BUCKETS = 10_000;

/**
 * Objects of S3; a version is an ETag without its quotes. One request per call, without retries. Exceptions: if
 * the answer says that the bucket is in another region or at another endpoint of the same provider, the request is sent there at once,
 * and so are all later ones; if the answer rejects the credentials, the request is sent once more with renewed ones.
 */
export class S3Origin implements Origin {
  readonly #options: S3Options;
  /** Buckets whose objects were found before: a HEAD's 404 is about the object then. */
  readonly #existingBuckets = new BoundedMap<string, true>(MAX_BUCKETS);
  #opening: Promise<OpenedS3> | undefined;
  /** The result of `#opening`: most requests need not wait for it. */
  #opened: OpenedS3 | undefined;

  constructor(options: S3Options) {
    this.#options = options;
  }

  fetch(request: OriginRequest): Promise<OriginAnswer> {
    return this.#send(request, ({ objects }, attempt) => objects.fetch(request, attempt));
  }

  ask<Q extends OriginQuestion>(question: Q): Promise<AnswerTo<Q>> {
    return answerBy(this.#answers, question);
  }

  async write(request: WriteRequest): Promise<WriteAnswer> {
    const sent = new SentWrite(request);
    try {
      const answer = await this.#send(request, ({ signed }, attempt) => signed.write(request, attempt, sent));
      if (!("key" in request.ref)) this.#existingBuckets.delete(request.ref.bucket);
      return answer;
    } catch (error) {
      throw sent.failed(CacheError.from(error));
    }
  }

  close(): void {
    this.#opening?.then(({ clients }) => clients.destroy()).catch(() => {}); // a client that never opened has nothing to close
    this.#opening = undefined;
    this.#opened = undefined;
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
    stat: async (question) => {
      const { ref } = question;
      const info = await this.#send(question, async ({ objects }, attempt) => {
        try {
          return await objects.stat(question, attempt);
        } catch (error) {
          if (isMissing(error) && !this.#existingBuckets.has(ref.bucket)) await this.#checkBucket(question);
          throw error;
        }
      });
      if (!this.#existingBuckets.has(ref.bucket)) this.#existingBuckets.set(ref.bucket, true);
      return info;
    },
    list: (question) =>
      this.#send(question, async ({ sdk }, { to }) => {
        const { ref, page, signal } = question;
        const { ListObjectsCommand, ListObjectsV2Command } = sdk.commands;
        const options = { abortSignal: signal };
        const commands = {
          v2: (input: ListObjectsV2CommandInput) => {
            const command = new ListObjectsV2Command({ ...input, ...this.#payer });
            if (page.isUnordered === true) addParameter(command.middlewareStack, "allow-unordered", "true");
            return to.client.send(command, options);
          },
          v1: (input: ListObjectsCommandInput) => to.client.send(new ListObjectsCommand({ ...input, ...this.#payer }), options),
        };
        return listObjects(commands, ref, page);
      }),
    listBuckets: (question) =>
      this.#send(question, async ({ sdk }, { to }) => {
        const output = await to.client.send(new sdk.commands.ListBucketsCommand({}), { abortSignal: question.signal });
        return bucketListOf(output);
      }),
    statBucket: (question) =>
      this.#send(question, async ({ sdk }, { to }) => {
        const { ref, signal } = question;
        const output = await to.client.send(new sdk.commands.HeadBucketCommand({ Bucket: ref.bucket }), { abortSignal: signal });
        return { region: output.BucketRegion };
      }),
    pass: (question) => this.#send(question, ({ signed }, attempt) => signed.pass(question, attempt)),
  };

  /**
   * Sends a request to the bucket's place. Sends it once more if the answer names another place, and once more if the answer
   * rejects the credentials and there are others, or the time of the signature.
   */
  async #send<Answer>(
    request: OriginRequest | OriginQuestion | WriteRequest,
    send: (opened: OpenedS3, attempt: Attempt) => Promise<Answer>,
  ): Promise<Answer> {
    const { ref, signal } = request;
    if (signal.aborted) throw abortError(signal);
    const access = this.#options.accesses?.of(request.principal, ref);
    try {
      const opened = this.#opened ?? (await this.#open());
      const { clients, sdk } = opened;
      for (let [isMoved, isRenewed] = [false, false]; ; ) {
        const identity =
          access === undefined ? (sdk.credentials.valid ?? (await inTime(sdk.credentials.get(), signal))) : keysOf(access);
        const to = clients.of(ref.bucket, access);
        try {
          return await send(opened, { to, identity });
        } catch (thrown) {
          if (signal.aborted || isFinal(thrown)) throw thrown;
          const error = await this.#withCode(thrown, request, opened, to);
          if (!isMoved && (await clients.moved(ref, error, to))) isMoved = true;
          else if (!isRenewed && (await isRemedied(error, opened, { to, identity }, signal))) isRenewed = true;
          else throw error;
          if (!maySendAgain(request)) throw error;
        }
      }
    } catch (error) {
      throw access === undefined ? s3Error(error, request) : errorAs(access, error, request);
    }
  }

  /** The error of a HEAD with the code that the same request as a GET is answered with. */
  async #withCode(
    error: unknown,
    request: OriginRequest | OriginQuestion | WriteRequest,
    { sdk }: OpenedS3,
    { client }: PlacedClient,
  ) {
    const isHead = "kind" in request && (request.kind === "stat" || request.kind === "statBucket");
    if (!isHead || !lacksCode(error) || !mayAddRequest(request)) return error;
    const { ref, signal } = request;
    const { GetObjectCommand, ListObjectsV2Command } = sdk.commands;
    const options = { abortSignal: signal };
    try {
      if ("key" in ref) {
        const { key, versionId: VersionId } = versionedKeyOf(ref);
        const input = { Bucket: ref.bucket, Key: key, ...(VersionId !== undefined && { VersionId }), ...this.#payer };
        const { Body } = await client.send(new GetObjectCommand({ ...input, Range: "bytes=0-0" }), options);
        (Body as unknown as Readable).destroy();
      } else await client.send(new ListObjectsV2Command({ Bucket: ref.bucket, MaxKeys: 1, ...this.#payer }), options);
      return error;
    } catch (withCode) {
      return withCode;
    }
  }

  #open(): Promise<OpenedS3> {
    if (this.#opening !== undefined) return this.#opening;
    const opening = openS3(this.#options);
    this.#opening = opening;
    opening.then(
      (opened) => {
        if (this.#opening === opening) this.#opened = opened; // else it was closed meanwhile
      },
      () => {
        if (this.#opening === opening) this.#opening = undefined; // the next call tries again
      },
    );
    return opening;
  }

  get #payer(): { RequestPayer?: "requester" } {
    return this.#options.requesterPays ? { RequestPayer: "requester" } : {};
  }
}

/** What an origin needs to send requests. */
interface OpenedS3 {
  readonly sdk: S3Sdk;
  readonly clients: S3Clients;
  readonly signed: SignedObjectRequests;
  /** The one of both that sends GETs and HEADs of objects. */
  readonly objects: ObjectRequests;
}

async function openS3(options: S3Options): Promise<OpenedS3> {
  const sdk = await openS3Sdk(options);
  const bySdk = new SdkObjectRequests(sdk.commands, options);
  const signed = new SignedObjectRequests(sdk, options, bySdk);
  return { sdk, clients: new S3Clients(sdk), signed, objects: options.originClient === "sdk" ? bySdk : signed };
}

/** Whether no other request can change the outcome, as of most refusals. */
function isFinal(error: unknown): boolean {
  return error instanceof CacheError || (error instanceof S3Refusal && !isRemediable(error) && !lacksCode(error));
}

/** Whether a request that failed with `error` can succeed now. Rejects with a CredentialsFailure if new credentials cannot be had. */
async function isRemedied(error: unknown, { sdk, signed }: OpenedS3, used: Attempt, signal: AbortSignal): Promise<boolean> {
  const remedy = remedyOf(error);
  if (remedy === "other credentials") {
    // A principal has no others.
    if (used.to.access !== undefined) return false;
    return (await inTime(sdk.credentials.replace(used.identity), signal)) !== undefined;
  }
  if (remedy === "another signature") signed.correctClock(error);
  return remedy !== undefined;
}

/** The error of a request that was signed with a principal's own credentials: what is wrong with them is the principal's business. */
function errorAs(
  { principal }: OriginAccess,
  error: unknown,
  request: OriginRequest | OriginQuestion | WriteRequest,
): CacheError {
  const failure = s3Error(error, request);
  const isRejected = remedyOf(error) === "other credentials";
  if (!isRejected && (failure.code !== "PERMISSION_DENIED" || failure.s3Code !== undefined)) return failure;
  const message = isRejected
    ? `the origin does not accept the credentials of ${principal}`
    : `the origin denies ${principal} access`;
  return new DeniedToPrincipal(request.ref, message, error);
}

/** Nothing is signed with these. */
const NO_KEYS: S3Identity = { accessKeyId: "", secretAccessKey: "" };

function keysOf({ credentials }: OriginAccess): S3Identity {
  return credentials === "unsigned" ? NO_KEYS : credentials;
}

/** A body that has been streamed is gone. */
function maySendAgain(request: OriginRequest | OriginQuestion | WriteRequest): boolean {
  return "mayRepeat" in request ? request.body instanceof Uint8Array : mayAddRequest(request);
}

/** Has a command send a parameter that the SDK does not know. */
function addParameter(stack: { add(middleware: never, options: object): void }, name: string, value: string): void {
  const middleware =
    (next: (args: unknown) => unknown) => (args: { readonly request: { readonly query: Record<string, string> } }) => {
      args.request.query[name] = value;
      return next(args);
    };
  stack.add(middleware as never, { step: "build", name: "addParameter" });
}
