import type { ValueEvent, ValueInfo, ValueRead, ValueRequest, Values } from "../../values/values.js";
import { callStatus } from "../call-status.js";
import type { HttpContext } from "../http/http-context.js";
import { errorResponseOf, REQUEST_ID_HEADER, sendError } from "../s3/error-response.js";

/** Interval between empty lines of a stream without events. By them, a client that has disconnected is noticed. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Sends a value that may still be being written, as it arrives, in chunks, since its length may not be known. Never throws. If its
 * writer dies, the connection is closed before the last chunk.
 */
export function sendFollowed(
  context: HttpContext,
  values: Values,
  about: ValueRequest,
  headersOf: (info: ValueInfo) => string[],
): void {
  const { response, requestId, client } = context;
  void streamed(context, about.url, async (write) => {
    const busy = client.beginRead();
    if (busy !== undefined) throw busy;
    let read: ValueRead | undefined;
    try {
      read = await values.open({ ...about, offset: 0, follow: true });
      response.writeHead(200, [...headersOf(read.info), REQUEST_ID_HEADER, requestId]);
      for (let slice = await read.next(); slice !== undefined; slice = await read.next()) {
        // The slice may be used again before a slow client has taken the bytes.
        const bytes = Buffer.from(slice.bytes);
        slice.release();
        await write(bytes);
      }
    } finally {
      read?.close();
      client.endRead();
    }
  });
}

/** Sends events, one JSON text a line, until the client disconnects. Never throws. */
export function sendEvents(context: HttpContext, events: AsyncIterable<ValueEvent>, url: string): void {
  const { response, requestId, clock } = context;
  void streamed(context, url, async (write) => {
    response.writeHead(200, ["Content-Type", "application/x-ndjson", "Cache-Control", "no-store", REQUEST_ID_HEADER, requestId]);
    const begun = write(Buffer.from("\n"));
    let cancel = (): void => {};
    const beat = (): void => {
      cancel = clock.after(KEEP_ALIVE_MS, () => {
        write(Buffer.from("\n")).then(beat, () => {});
      });
    };
    beat();
    try {
      await begun;
      for await (const event of events) await write(Buffer.from(`${JSON.stringify(event)}\n`));
    } finally {
      cancel();
    }
  });
}

/** Runs a response that writes pieces, each after the last one was taken. */
async function streamed(
  context: HttpContext,
  url: string,
  run: (write: (bytes: Buffer) => Promise<void>) => Promise<void>,
): Promise<void> {
  const { response, request, requestId, client, log } = context;
  let isOver = false;
  let wake = (): void => {};
  context.whenClosed(() => {
    isOver = true;
    wake();
  });
  let last = Promise.resolve();
  const write = (bytes: Buffer): Promise<void> => {
    last = last.then(() => {
      if (isOver) throw new Error("the client disconnected");
      return new Promise<void>((resolve) => {
        wake = resolve;
        response.write(bytes, resolve);
      });
    });
    return last;
  };
  try {
    await run(write);
    if (!isOver) response.end();
  } catch (error) {
    if (isOver) return;
    const { details } = callStatus(error, `${request.method} value`, log, { url, requestId, client: client.address });
    if (response.headersSent) response.destroy();
    else sendError(context, { ...errorResponseOf(error), message: details }, url);
  }
}
