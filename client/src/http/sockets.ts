import { connect as connectTcp, isIP, type NetConnectOpts, type OnReadOpts, type Socket } from "node:net";
import { type ConnectionOptions, checkServerIdentity, connect as connectTls } from "node:tls";
import { socketPathOf } from "@frontcache/proto";

/** The TCP address options of `net.connect`. */
export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

/** The address options of `net.connect`: TCP, or a Unix socket. */
export type SocketAddress = TcpAddress | { readonly path: string };

/** Converts `host:port`, `[IPv6 address]:port` or `unix:/path` to the form of `net.connect`. */
export function socketAddress(address: string): SocketAddress {
  const path = socketPathOf(address);
  if (path !== undefined) return { path };
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(address.slice(colon + 1)) };
}

/** Returns the Host header of requests to an address. */
export function hostHeaderOf(address: string): string {
  return socketPathOf(address) === undefined ? address : SOCKET_HOST;
}

/** The host of a Unix socket in Host headers and certificates. */
const SOCKET_HOST = "localhost";

/** What a connection with TLS trusts and presents. */
export interface SecureOptions
  extends Pick<ConnectionOptions, "ca" | "cert" | "key" | "secureContext" | "session" | "ALPNProtocols"> {
  /** The name expected in the server's certificate. Default: the host of the address. */
  readonly serverName?: string | undefined;
}

export interface OpenSocketOptions {
  /** Where bytes are received. Absent: the socket emits them. */
  readonly onread?: OnReadOpts | undefined;
  /** Connects even if the server's certificate is invalid, to diagnose it. Nothing is sent on such a connection. */
  readonly isDiagnosis?: boolean | undefined;
}

/** Connects in plain text or with TLS. The socket emits `connect`, or with TLS `secureConnect`. */
export function openSocket(address: SocketAddress, tls: SecureOptions | undefined, options: OpenSocketOptions = {}): Socket {
  const { onread, isDiagnosis = false } = options;
  if (tls === undefined) {
    const plain: NetConnectOpts = "path" in address ? { ...address } : { ...address, noDelay: true };
    if (onread !== undefined) plain.onread = onread;
    return connectTcp(plain);
  }
  const secure: ConnectionOptions & { onread?: OnReadOpts } = {
    ...address,
    ...secureOptions("path" in address ? SOCKET_HOST : address.host, tls),
  };
  if (onread !== undefined) secure.onread = onread;
  if (isDiagnosis) secure.rejectUnauthorized = false;
  return connectTls(secure).setNoDelay();
}

/** Begins TLS with a host on an established connection, whose bytes cannot be received by `onread`. Emits `secureConnect`. */
export function secureSocket(socket: Socket, host: string, tls: SecureOptions): Socket {
  return connectTls({ socket, ...secureOptions(host, tls) });
}

function secureOptions(host: string, { serverName = host, ...trust }: SecureOptions): ConnectionOptions {
  const options: ConnectionOptions = {};
  for (const [name, value] of Object.entries(trust)) if (value !== undefined) Object.assign(options, { [name]: value });
  // SNI may contain a name but not an address.
  if (isIP(serverName) === 0) return { ...options, servername: serverName };
  return { ...options, checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate) };
}
