import {
  type AbortUploadResponse,
  type BeginUploadRequest,
  type BeginUploadResponse,
  CacheError,
  completionMessage,
  type DeleteValueResponse,
  type FinalizeUploadRequest,
  type GetValueRequest,
  type GetValueResponse,
  type ListValuesRequest,
  type ListValuesResponse,
  type LockValueRequest,
  type LockValueResponse,
  type MonitoredEvent,
  type MonitorValuesRequest,
  type PutValueRequest,
  type UnlockValueRequest,
  type UnlockValueResponse,
  type UploadCompletion,
  type Value,
  type ValueRequest,
  valueMessage,
  type WriteRangeRequest,
} from "@frontcache/proto";
import type { ValueDescription, ValueInfo, Values } from "../../values/values.js";
import type { Client, Clients } from "../limits/clients.js";
import { streamingCall } from "./streaming-call.js";
import { type CallContext, unaryCall } from "./unary-call.js";
import { type UploadCallOptions, uploadCall } from "./upload-call.js";

export interface ValueServiceOptions extends UploadCallOptions {
  /** The values as clients may use them. Undefined: this member keeps none. Throws UNAVAILABLE while the member starts. */
  readonly clientValues: () => Values | undefined;
  readonly clients: Clients;
  /** Closes the connection from an `address:port`. */
  readonly cutOff: (peer: string) => void;
  /** Aborted when the listener closes. */
  readonly closing: AbortSignal;
}

/** Bytes of a message with bytes of a value. */
const PIECE_BYTES = 256 << 10;
const MOST_LISTED = 1_000;

/** The handlers of ValueService. */
export function valueServiceHandlers(options: ValueServiceOptions) {
  const served = (): Values => {
    const values = options.clientValues();
    if (values !== undefined) return values;
    throw new CacheError("NOT_FOUND", "this member keeps no values: give all members the same --cache-bucket", {
      s3Code: "NoSuchBucket",
    });
  };
  /** Runs a call that moves bytes, as one of the running requests of its client. */
  const counted = async <Result>({ peer }: CallContext, run: (client: Client) => Promise<Result>): Promise<Result> => {
    const client = options.clients.of(peer.slice(0, peer.lastIndexOf(":")));
    const busy = client.beginRead();
    if (busy !== undefined) throw busy;
    return await run(client).finally(() => client.endRead());
  };
  return {
    put: uploadCall<PutValueRequest, Value>(
      "Put",
      (first, others, context) =>
        counted(context, async () => {
          const request = { ...aboutOf(first, context), ...descriptionOf(first), ...conditionsOf(first) };
          return valueMessage(await served().put(request, bodyOf(first, others)));
        }),
      options,
    ),
    get: streamingCall<GetValueRequest, GetValueResponse>(
      "Get",
      (request, send, context) =>
        counted(context, async ({ clients }) => {
          const { offset, length, follow } = request;
          const about = aboutOf(request, context);
          const read = await served().open({ ...about, offset, length: length === 0 ? undefined : length, follow });
          try {
            let value: Value | undefined = valueMessage(read.info);
            const sent = async (data: Buffer): Promise<void> => {
              const taken = clients.sendBuffer.add(data.length, () => options.cutOff(context.peer));
              await send({ value, data }).finally(taken);
              value = undefined;
              if (context.signal.aborted) throw context.signal.reason;
            };
            if (read.length === undefined || read.length === 0) await sent(Buffer.alloc(0));
            for (let slice = await read.next(); slice !== undefined; slice = await read.next()) {
              try {
                const { bytes } = slice;
                for (let at = 0; at < bytes.length; at += PIECE_BYTES) await sent(bytes.subarray(at, at + PIECE_BYTES));
              } finally {
                slice.release();
              }
            }
          } finally {
            read.close();
          }
        }),
      options,
    ),
    head: unaryCall<ValueRequest, Value>(
      "Head",
      async (request, context) => valueMessage(found(await served().head(aboutOf(request, context)), request)),
      options,
    ),
    delete: unaryCall<ValueRequest, DeleteValueResponse>(
      "Delete",
      async (request, context) => ({ existed: await served().delete(aboutOf(request, context)) }),
      options,
    ),
    list: unaryCall<ListValuesRequest, ListValuesResponse>(
      "List",
      async ({ limit: requested, ...request }, { principal, signal }) => {
        const limit = requested === 0 ? MOST_LISTED : requested;
        if (limit > MOST_LISTED) {
          throw new CacheError("INVALID_ARGUMENT", `cache://${request.bucket}: the limit of a list is 1 to ${MOST_LISTED}`);
        }
        const { values, isTruncated } = await served().list({ ...request, limit, principal, signal });
        return { values: values.map(valueMessage), truncated: isTruncated };
      },
      options,
    ),
    beginUpload: unaryCall<BeginUploadRequest, BeginUploadResponse>(
      "BeginUpload",
      async (request, context) => {
        const { size, exclusive } = request;
        await served().begin({ ...aboutOf(request, context), ...descriptionOf(request), size, exclusive });
        return {};
      },
      options,
    ),
    writeRange: uploadCall<WriteRangeRequest, UploadCompletion>(
      "WriteRange",
      (first, others, context) =>
        counted(context, async () =>
          completionMessage(await served().writeRange(aboutOf(first, context), first.offset, dataOf(first, others))),
        ),
      options,
    ),
    describeUpload: unaryCall<ValueRequest, UploadCompletion>(
      "DescribeUpload",
      async (request, context) => {
        const completion = await served().completion(aboutOf(request, context));
        if (completion === undefined) throw new CacheError("NOT_FOUND", `${request.url}: no upload is running`);
        return completionMessage(completion);
      },
      options,
    ),
    finalizeUpload: unaryCall<FinalizeUploadRequest, Value>(
      "FinalizeUpload",
      async (request, context) => {
        const { ttlSeconds } = request;
        return valueMessage(await served().finalize({ ...aboutOf(request, context), ttlSeconds }));
      },
      options,
    ),
    abortUpload: unaryCall<ValueRequest, AbortUploadResponse>(
      "AbortUpload",
      async (request, context) => {
        await served().abort(aboutOf(request, context));
        return {};
      },
      options,
    ),
    lock: unaryCall<LockValueRequest, LockValueResponse>(
      "Lock",
      async (request, context) => {
        const { holder, seconds } = request;
        return { endsMs: await served().lock({ ...aboutOf(request, context), holder, seconds }) };
      },
      options,
    ),
    unlock: unaryCall<UnlockValueRequest, UnlockValueResponse>(
      "Unlock",
      async (request, context) => {
        await served().unlock({ ...aboutOf(request, context), holder: request.holder });
        return {};
      },
      options,
    ),
    monitor: streamingCall<MonitorValuesRequest, MonitoredEvent>(
      "Monitor",
      async ({ bucket, prefix }, send, { principal, signal }) => {
        // A monitor has no natural end that a drain could wait for.
        const either = AbortSignal.any([signal, options.closing]);
        for await (const { event, url, info } of served().monitor({ bucket, prefix, principal, signal: either })) {
          await send({ event, url, value: info && valueMessage(info) });
        }
      },
      options,
    ),
  };
}

function aboutOf({ url }: { readonly url: string }, { principal, signal }: CallContext) {
  return { url, principal, signal };
}

function descriptionOf({ description }: Pick<PutValueRequest, "description">): ValueDescription {
  if (description === undefined) return {};
  const { ttlSeconds, flags, metadata, contentType } = description;
  return { ttlSeconds, flags, metadata, ...(contentType !== "" && { contentType }) };
}

function conditionsOf({ url, size, ifMissing, whileWritten }: PutValueRequest) {
  if (whileWritten !== "" && whileWritten !== "refuse" && whileWritten !== "wait") {
    throw new CacheError("INVALID_ARGUMENT", `${url}: while_written is refuse or wait, or empty`);
  }
  const other = whileWritten === "" ? undefined : whileWritten;
  return { size, ifNoneMatch: ifMissing ? "*" : undefined, whileWritten: other } as const;
}

/**
 * The bytes of a value. A call that was cancelled can look as if it had ended, so that a stream of unknown size must say which message is
 * its last one.
 */
async function* bodyOf(first: PutValueRequest, others: AsyncIterable<PutValueRequest>): AsyncGenerator<Uint8Array, void> {
  if (first.data.length > 0) yield first.data;
  if (first.last) return;
  for await (const { data, last } of others) {
    if (data.length > 0) yield data;
    if (last) return;
  }
  if (first.size !== undefined) return;
  throw new CacheError("INVALID_ARGUMENT", `${first.url}: the call ended without its last message: set size, or last`);
}

/** The bytes of all messages of a call. */
async function* dataOf(
  first: { readonly data: Uint8Array },
  others: AsyncIterable<{ readonly data: Uint8Array }>,
): AsyncGenerator<Uint8Array, void> {
  if (first.data.length > 0) yield first.data;
  for await (const { data } of others) if (data.length > 0) yield data;
}

function found(info: ValueInfo | undefined, { url }: ValueRequest): ValueInfo {
  if (info === undefined) throw new CacheError("NOT_FOUND", `${url}: no such value`);
  return info;
}
