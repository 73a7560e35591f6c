import type { GetObjectCommandOutput, HeadObjectCommandOutput } from "@aws-sdk/client-s3";
import { type ObjectInfo, type ObjectRef, versionOfStoreTag } from "@frontcache/proto";
import { checkedAnswer, checkedInfo, objectHeadersOf } from "../checked-answer.js";
import type { BodyStream } from "../http/body-stream.js";
import type { OriginAnswer, OriginRequest, StatQuestion } from "../origin.js";
import { type Attempt, ifMatchOf, type ObjectRequests, rangeOf, versionedKeyOf } from "./object-requests.js";
import { responseHeadersOf, type S3Commands, type S3Options } from "./s3-client.js";

/** GETs and HEADs of objects by the AWS SDK's own commands (`--origin-client sdk`). */
export class SdkObjectRequests implements ObjectRequests {
  readonly #commands: S3Commands;
  readonly #options: S3Options;

  constructor(commands: S3Commands, options: S3Options) {
    this.#commands = commands;
    this.#options = options;
  }

  async fetch(request: OriginRequest, { to }: Attempt): Promise<OriginAnswer> {
    const { ref, signal } = request;
    const ifMatch = ifMatchOf(request);
    const input = { ...this.#target(ref), Range: rangeOf(request), ...(ifMatch !== undefined && { IfMatch: ifMatch }) };
    const output = await to.client.send(new this.#commands.GetObjectCommand(input), { abortSignal: signal });
    const head = {
      status: output.$metadata.httpStatusCode ?? 0,
      contentRange: output.ContentRange,
      contentLength: output.ContentLength,
      ...this.#describe(ref, output),
      lacks: "checksums" as const,
    };
    // The SDK's body is the stream of S3HttpHandler.
    return checkedAnswer(request, head, (output.Body as unknown as BodyStream).body);
  }

  async stat({ ref, signal }: StatQuestion, { to }: Attempt): Promise<ObjectInfo> {
    const command = new this.#commands.HeadObjectCommand({ ...this.#target(ref), ChecksumMode: "ENABLED" });
    const output = await to.client.send(command, { abortSignal: signal });
    return checkedInfo(ref, output.ContentLength, { ...this.#describe(ref, output), lacks: undefined });
  }

  #describe(ref: ObjectRef, output: HeadObjectCommandOutput | GetObjectCommandOutput) {
    return {
      version: versionOfStoreTag(output.ETag),
      contentType: output.ContentType,
      lastModifiedMs: output.LastModified?.getTime(),
      headers: objectHeadersOf(ref, Object.entries(responseHeadersOf(output)), this.#options.onDroppedHeaders),
    };
  }

  #target(ref: ObjectRef): { Bucket: string; Key: string; VersionId?: string; RequestPayer?: "requester" } {
    const { key, versionId } = versionedKeyOf(ref);
    return {
      Bucket: ref.bucket,
      Key: key,
      ...(versionId !== undefined && { VersionId: versionId }),
      ...(this.#options.requesterPays && { RequestPayer: "requester" }),
    };
  }
}
