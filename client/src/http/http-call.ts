import type { HttpConnection } from "./connection.js";
import type { ResponseFraming } from "./response-head.js";
import type { ResponseReader } from "./response-reader.js";

/** One request with its response. It ends with onComplete, onRefused or onBroken. */
export interface HttpCall {
  /** Whether the body is to be drained: see `HttpConnection.drain`. Absent: no. */
  readonly isDrained?: boolean;
  /** Whether bodies like this one are to be drained, also if all of it has arrived already. Absent: no. */
  readonly drainsLikely?: boolean;
  /** The head of the request, in Latin-1, with its blank line. */
  readonly request: string;
  /** The body of the request. Absent: none. */
  readonly requestBody?: Uint8Array | undefined;
  /** Sends the body of the request piece by piece, when its head has been sent. Absent: `requestBody` is all of it. */
  readonly sendBody?: ((sink: BodySink) => void) | undefined;
  /** Whether the whole request has been sent. Absent: it is sent at once. */
  readonly isSent?: boolean;
  /** Returns whether to send the request again, which was lost on a connection that the peer had closed. */
  mayRepeat(): boolean;
  readonly answer: Pick<
    ResponseReader<ResponseFraming>,
    "room" | "landed" | "take" | "drained" | "missingBytes" | "begun" | "complete" | "keepAlive" | "ended"
  >;
  /** Called with the connection of the call whenever it changes. */
  onStart(connection: HttpConnection): void;
  /** More bytes have arrived; `paused`: nothing more is received until `HttpConnection.resume`. */
  onBytes(paused: boolean): void;
  /** The whole response has arrived. */
  onComplete(): void;
  /** The response was rejected, and the connection is closed. */
  onRefused(error: unknown): void;
  /**
   * The connection was lost, or could not be made (`isConnected` is false). `cause` is undefined if the peer closed it normally.
   */
  onBroken(cause: Error | undefined, isConnected: boolean): void;
}

/** Where the body of a request is written to. */
export interface BodySink {
  /** `taken` is called when the kernel has the bytes, or with the error; never if the connection is closed before. */
  write(bytes: Uint8Array, taken: (error?: Error | null) => void): void;
}
