import { requestText } from "../../runtime/http-text.js";

/** Credentials for a member. */
export interface MemberAccess {
  /** Undefined: plain text. */
  readonly tls:
    | {
        readonly ca?: string | Buffer | undefined;
        readonly cert?: string | Buffer | undefined;
        readonly key?: string | Buffer | undefined;
        readonly serverName?: string | undefined;
      }
    | undefined;
  readonly token: string | undefined;
}

/** A GET of a path of a member's HTTP listener. */
export interface MemberRequest {
  /** `host:port` of the HTTP listener. */
  readonly address: string;
  readonly path: string;
  readonly access: MemberAccess;
  readonly timeoutMs: number;
  /** Maximum response; a longer one is an error. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** Sends a request to a member. Rejects with a message of one line, or with the reason of the signal. */
export async function getFromMember(request: MemberRequest): Promise<{ readonly status: number; readonly text: string }> {
  const { address, path, access, timeoutMs, maxBytes, signal } = request;
  const { tls, token } = access;
  const { ca, cert, key, serverName: servername } = tls ?? {};
  const given = Object.entries({ ca, cert, key, servername }).filter(([, value]) => value !== undefined);
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  try {
    return await requestText({
      url: `${tls === undefined ? "http" : "https"}://${address}${path}`,
      options: { headers, ...Object.fromEntries(given) },
      timeoutMs,
      maxBytes,
      ...(signal && { signal }),
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new Error(messageOf(error as Error), { cause: error });
  }
}

/** An AggregateError of several addresses has no message. */
function messageOf(error: Error & { readonly errors?: readonly Error[] }): string {
  return (error.message || error.errors?.map(({ message }) => message).join("; ") || "cannot connect").replaceAll(
    /\s*\n\s*/g,
    " ",
  );
}
