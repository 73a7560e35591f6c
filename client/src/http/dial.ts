import { isIP, type OnReadOpts, type Socket } from "node:net";
import { HeadGathering, ResponseHead } from "./response-head.js";
import { openSocket, type SecureOptions, type SocketAddress, secureSocket, type TcpAddress } from "./sockets.js";

/** What becomes of a connection that is being opened. */
export interface Dialed {
  /** The peer, or the proxy, has accepted the connection. TLS and a tunnel may follow. */
  reached(): void;
  /** Requests can be sent on the socket. Its bytes arrive in the memory of `onread`, or by `received`. */
  opened(socket: Socket): void;
  /** Bytes have arrived on a socket that cannot receive into the memory of `onread`. They are not changed later. */
  received(bytes: Buffer): void;
  /** The connection is over, or could not be made. `cause` is undefined if the peer closed it normally. May be called repeatedly. */
  ended(cause?: Error): void;
}

/**
 * Begins to open a connection. Throws for options of TLS that are invalid. The returned function closes the connection while it is
 * being opened.
 */
export type Dial = (onread: OnReadOpts, dialed: Dialed) => () => void;

/** Connects to an address. `tls` undefined: in plain text. */
export function dialDirectly(address: SocketAddress, tls: SecureOptions | undefined, onSocket?: (socket: Socket) => void): Dial {
  return (onread, dialed) => {
    const socket = openSocket(address, tls, { onread });
    onSocket?.(socket);
    socket.once("connect", () => dialed.reached());
    socket.once(tls === undefined ? "connect" : "secureConnect", () => dialed.opened(socket));
    reportEnd(socket, dialed);
    return () => socket.destroy();
  };
}

function reportEnd(socket: Socket, dialed: Dialed): void {
  socket.on("error", (error) => dialed.ended(error));
  socket.on("end", () => dialed.ended());
  socket.on("close", () => dialed.ended());
}

/** The proxy rejected a connection, or did not answer. */
export class ProxyError extends Error {
  readonly code = "PROXY";
}

/** A tunnel through a proxy to a target that speaks TLS. */
export interface TunnelOptions {
  readonly proxy: URL;
  /** What the proxy itself is trusted by; undefined: it speaks plain text. */
  readonly proxyTls: SecureOptions | undefined;
  readonly target: TcpAddress;
  readonly tls: SecureOptions;
  /** Called with the socket of TLS with the target. */
  readonly onSocket?: ((socket: Socket) => void) | undefined;
}

/** The longest head of a proxy's answer. */
const MAX_PROXY_HEAD_BYTES = 16 << 10;

/** Connects to a target by a CONNECT to a proxy, and begins TLS with the target in this tunnel. */
export function dialByTunnel({ proxy, proxyTls, target, tls, onSocket }: TunnelOptions): Dial {
  return (_onread, dialed) => {
    const authority = `${isIP(target.host) === 6 ? `[${target.host}]` : target.host}:${target.port}`;
    const fail = (why: string, cause?: unknown): void => {
      socket.destroy();
      dialed.ended(new ProxyError(`the proxy ${proxy.host} ${why}`, { cause }));
    };
    let socket = openSocket(addressOf(proxy), proxyTls);
    const head = new HeadGathering(MAX_PROXY_HEAD_BYTES);
    const onData = (bytes: Buffer): void => {
      try {
        const answer = head.take(bytes);
        if (answer === undefined) return;
        const { status } = new ResponseHead(answer.text);
        if (status < 200 || status > 299) fail(`refuses a connection to ${authority} (status ${status})`);
        else if (answer.headBytes < bytes.length) fail(`sends bytes before ${authority} was asked for them`);
        else upgrade();
      } catch (cause) {
        fail("does not answer in HTTP", cause);
      }
    };
    const onError = (error: NodeJS.ErrnoException): void => fail(`cannot be reached: ${error.code ?? error.message}`, error);
    const onClose = (): void => fail(`closed the connection to ${authority}`);
    const upgrade = (): void => {
      socket.off("data", onData).off("error", onError).off("close", onClose);
      socket.on("error", () => {}); // TLS reports it, too
      const secured = secureSocket(socket, target.host, tls);
      onSocket?.(secured);
      secured.once("secureConnect", () => {
        secured.on("data", (bytes: Buffer) => dialed.received(bytes));
        dialed.opened(secured);
      });
      reportEnd(secured, dialed);
      socket = secured;
    };
    socket.once("connect", () => dialed.reached());
    socket.on("data", onData).on("error", onError).on("close", onClose);
    socket.once(proxyTls === undefined ? "connect" : "secureConnect", () => {
      const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`, ...proxyAuthorization(proxy), "", ""];
      socket.write(lines.join("\r\n"), "latin1");
    });
    return () => socket.destroy();
  };
}

/** Returns the line that authenticates to a proxy with a user's name in its URL. */
export function proxyAuthorization({ username, password }: URL): string[] {
  if (username === "" && password === "") return [];
  const pair = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
  return [`Proxy-Authorization: Basic ${pair}`];
}

/** Returns the address of a URL's host. */
export function addressOf(url: URL): TcpAddress {
  const { hostname, port, protocol } = url;
  const host = hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  return { host, port: port === "" ? (protocol === "https:" ? 443 : 80) : Number(port) };
}
