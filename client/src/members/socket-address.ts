/** What `net.connect` takes. */
export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

/** A `host:port` or `[IPv6 address]:port` in the form of `net.connect`. */
export function socketAddress(hostPort: string): SocketAddress {
  const colon = hostPort.lastIndexOf(":");
  const host = hostPort.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(hostPort.slice(colon + 1)) };
}
