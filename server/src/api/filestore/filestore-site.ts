import { CacheError } from "@frontcache/proto";
import { decodeOnce } from "../../runtime/percent-decoding.js";
import { type BodyPieces, watched } from "../../values/body-tee.js";
import { ValueConflict, type Values } from "../../values/values.js";
import type { HttpContext } from "../http/http-context.js";
import { plainGetParser } from "../http/plain-request.js";
import type { Site } from "../http/site.js";
import type { Document } from "../s3/document-answer.js";
import { type ErrorResponse, REQUEST_ID_HEADER } from "../s3/error-response.js";
import { receivedBytes } from "../s3/writes/received-body.js";
import { sendValue } from "../values/send-value.js";
import { answerRunning, bodySizeOf, empty, invalidRequest, valueSite } from "../values/value-site.js";

/** The longest file of memcache-filestore, bytes. */
export const MAX_FILE_BYTES = 50 << 20;

export interface FilestoreOptions {
  /** The bucket of the values. memcache-filestore has no buckets. */
  readonly bucket: string;
  readonly maxFileBytes: number;
}

const MAX_NAME_BYTES = 8_192;
const FILE = "/file/";
const METHODS = "POST, GET, DELETE";

/** The messages of memcache-filestore, which its clients may compare. */
const messages = {
  exists: "File already exists",
  missing: "File not found",
  tooLarge: "File is too large",
} as const;

/** The body of the request is longer than a file may be. */
class TooLarge extends CacheError {
  constructor() {
    super("INVALID_ARGUMENT", messages.tooLarge);
  }
}

/** memcache-filestore's REST interface: `/file/{name}`. Errors are JSON. */
export function filestoreSite({ bucket, maxFileBytes }: FilestoreOptions): Site<Values> {
  return valueSite({
    errorForm: {
      contentType: "application/json",
      write: ({ message }) => JSON.stringify({ error: message }, undefined, 2),
    },
    parsePlain: plainGetParser(`${FILE}[!"$->@-~]+`),
    answer(context, { path }, values) {
      const escaped = path.startsWith(FILE) ? path.slice(FILE.length) : "";
      if (escaped === "" || escaped.includes("/")) return invalidRequest(404, "404 page not found");
      const name = decodeOnce(escaped);
      if (name.includes("/")) return invalidRequest(404, "404 page not found");
      if (Buffer.byteLength(name) > MAX_NAME_BYTES) return invalidRequest(400, `the name is longer than ${MAX_NAME_BYTES} bytes`);
      return answerFile(context, values, `cache://${bucket}/${name}`, maxFileBytes);
    },
  });
}

function answerFile(context: HttpContext, values: Values, url: string, maxFileBytes: number): ErrorResponse | undefined {
  const { request, requestId, principal, signal } = context;
  switch (request.method) {
    case "POST":
      answerRunning(context, { operation: "store file", url }, () => store(context, values, url, maxFileBytes), withMessage);
      return undefined;
    case "GET":
      context.errorForm = { ...context.errorForm!, change: withMessage };
      sendValue(context, values, { url, range: undefined }, (_read, length) => ({
        status: 200,
        headers: ["Content-Type", "application/octet-stream", "Content-Length", String(length), REQUEST_ID_HEADER, requestId],
      }));
      return undefined;
    case "DELETE":
      answerRunning(
        context,
        { operation: "delete file", url },
        async () => {
          if (!(await values.delete({ url, principal, signal }))) throw new CacheError("NOT_FOUND", messages.missing);
          return empty(200);
        },
        withMessage,
      );
      return undefined;
    default:
      return invalidRequest(405, `${request.method} is not allowed for files: use ${METHODS}`, ["Allow", METHODS]);
  }
}

/** A file is never overwritten. Of two writers of a name, the second one gets the error that the file exists. */
async function store(context: HttpContext, values: Values, url: string, maxFileBytes: number): Promise<Document> {
  const { principal, signal, upload } = context;
  const size = bodySizeOf(context);
  if (size !== undefined && size > maxFileBytes) throw new TooLarge();
  try {
    const body = bounded(receivedBytes(upload!, context), maxFileBytes);
    await values.put({ url, size, ifNoneMatch: "*", whileWritten: "refuse", principal, signal }, body);
  } catch (error) {
    if (error instanceof ValueConflict && (error.reason === "exists" || error.reason === "already_started")) {
      throw new ValueConflict("exists", messages.exists);
    }
    throw error;
  }
  return empty(200);
}

/** The same body, which fails if it is longer. */
function bounded(body: BodyPieces, maxBytes: number): BodyPieces {
  let bytes = 0;
  return watched(body, ({ length }) => {
    bytes += length;
    if (bytes > maxBytes) throw new TooLarge();
  });
}

function withMessage(error: ErrorResponse): ErrorResponse {
  return error.errorCode === "NOT_FOUND" ? { ...error, message: messages.missing } : error;
}
