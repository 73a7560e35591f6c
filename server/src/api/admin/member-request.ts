import type { RequestOptions } from "node:https";
import { connect, isIP } from "node:net";
import { connect as connectTls } from "node:tls";
import { type CallingMember, proveMember } from "@frontcache/client/members";
import { socketPathOf } from "@frontcache/proto";
import { remoteAddress } from "../../config/addresses.js";
import { systemClock } from "../../runtime/clock.js";
import { requestText } from "../../runtime/http-text.js";

type CreateConnection = NonNullable<RequestOptions["createConnection"]>;

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
  /** How a member proves itself by a key, on the connection; absent: not at all. */
  readonly member?: CallingMember | undefined;
}

/** A GET of a path of a member's HTTP listener. */
export interface MemberRequest {
  /** `host:port` or `unix:/path` of the HTTP listener. */
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
  const { tls, token, member } = access;
  const { ca, cert, key, serverName: servername } = tls ?? {};
  const given = Object.entries({ ca, cert, key, servername }).filter(([, value]) => value !== undefined);
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socketPath = socketPathOf(address);
  try {
    return await requestText({
      url: `${tls === undefined ? "http" : "https"}://${socketPath === undefined ? address : "localhost"}${path}`,
      options: {
        headers,
        ...(socketPath !== undefined && { socketPath }),
        ...Object.fromEntries(given),
        ...(member !== undefined && { agent: undefined, createConnection: provenConnection(request, member) }),
      },
      timeoutMs,
      maxBytes,
      ...(signal && { signal }),
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new Error(messageOf(error as Error), { cause: error });
  }
}

/** Opens a connection on which this process has proved to be a member before the request is sent. */
function provenConnection({ address, access, timeoutMs }: MemberRequest, member: CallingMember): CreateConnection {
  const { tls } = access;
  const { ca, cert, key, serverName } = tls ?? {};
  return (_, created) => {
    const { host, port } = remoteAddress.parse(address);
    // Without it, a connection that nobody accepts would outlive the request.
    const signal = AbortSignal.timeout(timeoutMs);
    const plain = connect({ host, port, signal });
    const servername = serverName ?? (isIP(host) === 0 ? host : undefined);
    const secure = { ca, cert, key, host, socket: plain, ...(servername !== undefined && { servername }) };
    const socket = tls === undefined ? plain : connectTls(secure);
    socket.once("error", (error) => created?.(error, socket));
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      proveMember(socket, { member, hostPort: address, clock: systemClock, timeoutMs }).then(
        () => {
          created?.(null, socket);
          socket.resume();
        },
        (error: Error) => {
          socket.destroy();
          created?.(error, socket);
        },
      );
    });
    return undefined;
  };
}

/** An AggregateError of several addresses has no message. */
function messageOf(error: Error & { readonly errors?: readonly Error[] }): string {
  return (error.message || error.errors?.map(({ message }) => message).join("; ") || "cannot connect").replaceAll(
    /\s*\n\s*/g,
    " ",
  );
}
