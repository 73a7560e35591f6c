import { connect as connectTcp, isIP, type NetConnectOpts, type OnReadOpts, type Socket } from "node:net";
import { type ConnectionOptions, checkServerIdentity, connect as connectTls } from "node:tls";

/** The address options of `net.connect`. */
export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

/** Converts `host:port` or `[IPv6 address]:port` to the form of `net.connect`. */
export function socketAddress(hostPort: string): SocketAddress {
  const colon = hostPort.lastIndexOf(":");
  const host = hostPort.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(hostPort.slice(colon + 1)) };
}

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
    const plain: NetConnectOpts = { ...address, noDelay: true };
    if (onread !== undefined) plain.onread = onread;
    return connectTcp(plain);
  }
  const secure: ConnectionOptions & { onread?: OnReadOpts } = { ...address, ...secureOptions(address.host, tls) };
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
