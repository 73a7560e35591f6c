import { once } from "node:events";
import {
  CacheError,
  type DeleteValueResponse,
  descriptionMessage,
  type ListValuesResponse,
  type PutValueRequest,
  type UploadCompletion,
  type Value,
  type ValueEvent,
  valueOfMessage,
  type WriteRangeRequest,
} from "@frontcache/proto";
import type {
  CallOptions,
  ClientReadableStream,
  ClientUnaryCall,
  ClientWritableStream,
  Metadata,
  ServiceError,
} from "@grpc/grpc-js";
import { PieceQueue } from "../piece-queue.js";
import { type CallLimits, type MemberAddress, Unreachable } from "../ports.js";
import type {
  GetValue,
  OpenedMonitor,
  OpenedValue,
  PutValue,
  SentAnswerTo,
  ValueAnswerTo,
  ValueQuestion,
  ValueTransport,
  WriteValueRange,
} from "../value-transport.js";
import { callOptions, type GrpcCall, receiveAll, receiveOne, StreamWait } from "./grpc-call.js";
import type { ValueServiceClient } from "./service.js";

/** Bytes of a message. Members take messages of at most 256 KiB. */
const MESSAGE_BYTES = 128 << 10;
const NO_BYTES = Buffer.alloc(0);

/** The port by which GrpcValues reaches the members. */
export interface MemberChannels {
  /** Connects, and watches the member while the call waits. */
  call(address: MemberAddress, subject: string, limits: CallLimits): Promise<GrpcCall>;
  /** The calls of ValueService on the channel to a member; undefined: it was closed. */
  valuesAt(grpcAddress: string): ValueServiceClient | undefined;
  metadata(): Metadata;
}

interface Started extends GrpcCall {
  readonly values: ValueServiceClient;
  readonly metadata: Metadata;
  readonly options: CallOptions;
}

type Callback<Answer> = (error: ServiceError | null, answer: Answer) => void;

/** Requests about values over gRPC. */
export class GrpcValues implements ValueTransport {
  readonly #members: MemberChannels;

  constructor(members: MemberChannels) {
    this.#members = members;
  }

  async ask<Q extends ValueQuestion>(address: MemberAddress, question: Q, limits: CallLimits): Promise<ValueAnswerTo<Q>> {
    return (await this.#answer(await this.#start(address, question.url, limits), question)) as ValueAnswerTo<Q>;
  }

  async send<S extends PutValue | WriteValueRange>(
    address: MemberAddress,
    request: S,
    limits: CallLimits,
  ): Promise<SentAnswerTo<S>> {
    const started = await this.#start(address, request.url, limits);
    const { values, metadata, options } = started;
    const sent =
      request.kind === "put"
        ? valueOfMessage(
            await upload<PutValueRequest, Value>((done) => values.put(metadata, options, done), putOf(request), started),
          )
        : await upload<WriteRangeRequest, UploadCompletion>(
            (done) => values.writeRange(metadata, options, done),
            rangeOf(request),
            started,
          );
    return sent as SentAnswerTo<S>;
  }

  async open(address: MemberAddress, request: GetValue, limits: CallLimits): Promise<OpenedValue> {
    const started = await this.#start(address, request.url, limits);
    const stream = started.values.get(request, started.metadata, started.options);
    const messages = messagesOf(stream, started, ({ data }) => data.length);
    const first = await messages.next();
    if (first.done === true || first.value.value === undefined) {
      stream.cancel();
      throw new CacheError("INTERNAL", `${request.url}: the member does not describe the value`);
    }
    async function* pieces(): AsyncGenerator<Buffer, void> {
      try {
        if (first.value!.data.length > 0) yield first.value!.data;
        for await (const { data } of messages) yield data;
      } finally {
        stream.cancel();
      }
    }
    const whole = async (): Promise<Buffer> => {
      const all: Buffer[] = [];
      for await (const piece of pieces()) all.push(piece);
      return all.length === 1 ? all[0]! : Buffer.concat(all);
    };
    return { info: valueOfMessage(first.value.value), whole, pieces, destroy: () => stream.cancel() };
  }

  async monitor(address: MemberAddress, of: { bucket: string; prefix: string }, limits: CallLimits): Promise<OpenedMonitor> {
    // Without events the member is silent.
    const started = { ...(await this.#start(address, `cache://${of.bucket}`, limits)), silence: undefined };
    const stream = started.values.monitor(of, started.metadata, started.options);
    const messages = messagesOf(stream, started, () => EVENT_BYTES);
    async function* events(): AsyncGenerator<ValueEvent, void> {
      for await (const { event, url, value } of messages) {
        yield { event: event as ValueEvent["event"], url, ...(value !== undefined && { info: valueOfMessage(value) }) };
      }
    }
    return { events, destroy: () => stream.cancel() };
  }

  async #start(address: MemberAddress, url: string, limits: CallLimits): Promise<Started> {
    const call = await this.#members.call(address, url, limits);
    const values = this.#members.valuesAt(address.grpcAddress);
    if (values === undefined) throw new Unreachable(`${url}: the channel was closed`, { wasSent: false });
    return { ...call, values, metadata: this.#members.metadata(), options: callOptions(limits) };
  }

  async #answer(started: Started, question: ValueQuestion): Promise<unknown> {
    const { values, metadata, options } = started;
    const { url } = question;
    const one = <Answer>(start: (done: Callback<Answer>) => ClientUnaryCall): Promise<Answer> => receiveOne(start, started);
    switch (question.kind) {
      case "head":
        return valueOfMessage(await one<Value>((done) => values.head({ url }, metadata, options, done)));
      case "delete":
        return (await one<DeleteValueResponse>((done) => values.delete({ url }, metadata, options, done))).existed;
      case "completion":
        return await one<UploadCompletion>((done) => values.describeUpload({ url }, metadata, options, done));
      case "abort":
        return await one((done) => values.abortUpload({ url }, metadata, options, done));
      case "list": {
        const { bucket, prefix, after } = question;
        const request = { bucket, prefix, after, limit: 0 };
        const page = await one<ListValuesResponse>((done) => values.list(request, metadata, options, done));
        return { values: page.values.map(valueOfMessage), isTruncated: page.truncated };
      }
      case "begin": {
        const { size, description } = question;
        const request = { url, size, description: descriptionMessage(description), exclusive: false };
        return await one((done) => values.beginUpload(request, metadata, options, done));
      }
      case "finalize": {
        const { ttlSeconds } = question;
        return valueOfMessage(await one<Value>((done) => values.finalizeUpload({ url, ttlSeconds }, metadata, options, done)));
      }
      case "lock": {
        const { holder, seconds } = question;
        return await one((done) => values.lock({ url, holder, seconds }, metadata, options, done));
      }
      case "unlock":
        return await one((done) => values.unlock({ url, holder: question.holder }, metadata, options, done));
    }
  }
}

/** The weight of an event in the queue of a monitor, bytes. */
const EVENT_BYTES = 1 << 10;

/** The messages of a stream as they arrive, with backpressure. Its errors are CacheErrors. */
function messagesOf<Message>(
  stream: ClientReadableStream<Message>,
  call: GrpcCall,
  bytesOf: (message: Message) => number,
): AsyncGenerator<Message, void> {
  const wait = new StreamWait(stream, call.silence);
  const queue = new PieceQueue<Message>(wait, bytesOf);
  receiveAll(stream, (message) => queue.push(message), call, wait).then(
    () => queue.end(),
    (error: unknown) => queue.end(error),
  );
  return queue.pieces();
}

/** Sends messages as the member takes them; resolves with its answer, which may come before the last message. */
async function upload<Message, Answer>(
  start: (done: Callback<Answer>) => ClientWritableStream<Message>,
  messages: AsyncIterable<Message> | Iterable<Message>,
  call: GrpcCall,
): Promise<Answer> {
  let stream!: ClientWritableStream<Message>;
  let isOver = false;
  let wake = (): void => {};
  const answered = receiveOne<Answer>((done) => {
    stream = start(done);
    return stream;
  }, call).finally(() => {
    isOver = true;
    wake();
  });
  answered.catch(() => {});
  /** Resolves with undefined if the call is over before. */
  const unlessOver = <Result>(work: Promise<Result>): Promise<Result | undefined> =>
    new Promise((resolve, reject) => {
      wake = () => resolve(undefined);
      if (isOver) wake();
      work.then(resolve, reject);
    });
  // An error of the stream is that of the call.
  stream.on("error", () => {});
  const arriving = (async function* () {
    yield* messages;
  })();
  try {
    for (;;) {
      const next = await unlessOver(arriving.next());
      if (next === undefined || next.done === true || isOver) break;
      if (!stream.write(next.value)) await unlessOver(once(stream, "drain"));
    }
    stream.end();
  } catch (error) {
    // The body failed: the member stores nothing.
    stream.cancel();
    throw error;
  }
  return await answered;
}

/** The messages of a put. */
async function* putOf(request: PutValue): AsyncGenerator<PutValueRequest, void> {
  const { url, description, ifMissing, body } = request;
  const whileWritten = request.whileWritten ?? "";
  const [pieces, size] = body instanceof Uint8Array ? [[body], body.length] : [body.pieces, body.size];
  const rest = { url: "", description: undefined, ifMissing: false, whileWritten: "" };
  yield { url, description: descriptionMessage(description), size, ifMissing, whileWritten, data: NO_BYTES, last: false };
  for await (const piece of pieces) for (const data of cut(piece)) yield { ...rest, data, last: false };
  yield { ...rest, data: NO_BYTES, last: true };
}

function* rangeOf({ url, offset, body }: WriteValueRange): Generator<WriteRangeRequest, void> {
  let first = { url, offset };
  for (const data of body.length === 0 ? [NO_BYTES] : cut(body)) {
    yield { ...first, data };
    first = { url: "", offset: 0 };
  }
}

function* cut(bytes: Uint8Array): Generator<Buffer, void> {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < whole.length; at += MESSAGE_BYTES) yield whole.subarray(at, at + MESSAGE_BYTES);
}
