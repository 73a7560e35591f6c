import { EventEmitter } from "node:events";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";

/** How the two ends of a call reach each other: in order, now or later or, while nothing gets through, not yet. */
export interface CallPath {
  /** Has something done at the member, behind what was sent there before. */
  toMember(deliver: () => void): void;
  /** Has something done at the caller, behind what was sent there before. */
  toCaller(deliver: () => void): void;
  /** Has the member's process notice something that happened to the connection: at once, unless it is frozen. */
  atMember(notice: () => void): void;
  /** The same for the caller's process. */
  atCaller(notice: () => void): void;
}

/** What a caller sends. */
export interface Sent<Request> {
  readonly request: Request;
  readonly metadata: Metadata;
}

/** What a member's handler answers a unary call with. */
export type UnaryAnswer<Response> = (error: Partial<ServiceError> | null, response?: Response) => void;

/** Messages that are on their way or wait for a caller that reads slowly; the member writes no more meanwhile. */
const WINDOW_MESSAGES = 4;

/**
 * One gRPC call without gRPC: the caller's end and the member's, each as much of grpc-js's objects as our code uses. What
 * is written is copied, as serialising does.
 */
export class SimulatedCall<Request, Response> {
  readonly path: CallPath;

  readonly caller: CallerEnd<Response>;
  readonly member: MemberEnd<Request, Response>;
  /** Called when both ends know that the call is over. */
  onOver: () => void = () => {};
  #callerOver = false;
  #memberOver = false;

  constructor(sent: Sent<Request>, path: CallPath, copy: (message: Response) => Response) {
    this.path = path;
    this.caller = new CallerEnd(
      () => this.path.toMember(() => this.#endMember()),
      () => this.#endCaller(),
    );
    this.member = new MemberEnd(sent, this.caller, this.path, copy, () => this.#endMember());
  }

  /** The connection breaks under it, for the caller and for the member. */
  break(why: string): void {
    this.path.atMember(() => this.#endMember());
    this.path.atCaller(() => this.caller.fail({ code: status.UNAVAILABLE, details: why }));
  }

  /** The caller's process is gone: it hears nothing any more. */
  forsake(): void {
    this.caller.removeAllListeners();
    this.caller.on("error", () => {});
    this.caller.cancel();
    this.path.atMember(() => this.#endMember());
  }

  #endCaller(): void {
    this.#callerOver = true;
    if (this.#memberOver) this.onOver();
  }

  #endMember(): void {
    if (this.#memberOver) return;
    this.#memberOver = true;
    this.member.over();
    if (this.#callerOver) this.onOver();
  }
}

/** As much of a ClientReadableStream as our code uses. */
export class CallerEnd<Response> extends EventEmitter {
  readonly #tellMember: () => void;
  readonly #over: () => void;

  readonly #waiting: { readonly deliver: () => void; readonly taken: () => void }[] = [];
  #paused = false;
  #ended = false;

  constructor(tellMember: () => void, over: () => void) {
    super();
    this.#tellMember = tellMember;
    this.#over = over;
  }

  pause(): this {
    this.#paused = true;
    return this;
  }

  resume(): this {
    this.#paused = false;
    queueMicrotask(() => this.#pump());
    return this;
  }

  cancel(): void {
    if (this.#ended) return;
    this.#tellMember();
    this.fail({ code: status.CANCELLED, details: "cancelled by the caller" });
  }

  fail(error: Partial<ServiceError>): void {
    if (this.#ended) return;
    this.#end();
    const failure = Object.assign(new Error(error.details), { metadata: new Metadata() }, error);
    queueMicrotask(() => this.emit("error", failure));
  }

  /** Something arrived; `taken` is called when the caller has it. */
  arrive(event: "metadata" | "data" | "end", payload: Response | Metadata | undefined, taken: () => void): void {
    if (this.#ended) {
      taken();
      return;
    }
    const deliver = (): void => {
      if (event === "end") this.#end();
      this.emit(event, payload);
    };
    this.#waiting.push({ deliver, taken });
    this.#pump();
  }

  #pump(): void {
    while (!this.#paused && !this.#ended) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      next.taken();
      next.deliver();
    }
  }

  #end(): void {
    this.#ended = true;
    for (const { taken } of this.#waiting.splice(0)) taken();
    this.#over();
  }
}

/** As much of a ServerWritableStream, or of a ServerUnaryCall, as our code uses. */
export class MemberEnd<Request, Response> extends EventEmitter {
  readonly request: Request;
  readonly metadata: Metadata;
  readonly #callerEnd: CallerEnd<Response>;
  readonly #path: CallPath;
  readonly #copy: (message: Response) => Response;
  readonly #done: () => void;

  #inWindow = 0;
  /** Nobody waits for its answer any more. */
  isOver = false;
  readonly #stopped: (() => void)[] = [];

  constructor(
    { request, metadata }: Sent<Request>,
    callerEnd: CallerEnd<Response>,
    path: CallPath,
    copy: (message: Response) => Response,
    done: () => void,
  ) {
    super();
    this.request = request;
    this.metadata = metadata;
    this.#callerEnd = callerEnd;
    this.#path = path;
    this.#copy = copy;
    this.#done = done;
    this.on("error", (error: Partial<ServiceError>) => {
      if (this.isOver) return;
      this.#path.toCaller(() => this.#callerEnd.fail(error));
      this.#done();
    });
  }

  /** All callers come from one address. */
  getPeer(): string {
    return "simulated:1";
  }

  sendMetadata(metadata: Metadata): void {
    this.#send("metadata", metadata);
  }

  /** Messages that wait for the window. */
  get writableLength(): number {
    return this.#stopped.length;
  }

  write(message: Response, written: () => void = () => {}): boolean {
    this.#send("data", this.#copy(message));
    if (this.#inWindow < WINDOW_MESSAGES) queueMicrotask(written);
    else this.#stopped.push(written);
    return true;
  }

  end(): void {
    this.#send("end", undefined);
    this.#done();
  }

  /** As grpc-js's Writable sends a message. */
  _write(message: Response, _encoding: BufferEncoding, written: () => void): void {
    this.write(message, written);
  }

  /** As grpc-js's Writable sends the status. */
  _final(done: () => void): void {
    this.end();
    done();
  }

  /** The answer of a unary call. */
  readonly answer: UnaryAnswer<Response> = (error, response) => {
    if (error !== null) {
      this.emit("error", error);
      return;
    }
    this.write(response!);
    this.end();
  };

  /** grpc-js tells of every end of a call, good or bad, by this event. */
  over(): void {
    this.isOver = true;
    this.#stopped.length = 0;
    queueMicrotask(() => this.emit("cancelled"));
  }

  #send(event: "metadata" | "data" | "end", payload: Response | Metadata | undefined): void {
    if (this.isOver) return;
    this.#inWindow++;
    this.#path.toCaller(() => this.#callerEnd.arrive(event, payload, this.#taken));
  }

  readonly #taken = (): void => {
    this.#path.atMember(() => {
      this.#inWindow--;
      const next = this.#stopped.shift();
      if (next !== undefined) queueMicrotask(next);
    });
  };
}
