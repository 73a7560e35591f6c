/** Begins the address of a Unix socket: `unix:/run/frontcache/grpc.sock`. */
const UNIX = "unix:";

const TCP_ADDRESS = /^(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:/[\]]+):\d{1,5}$/;
const UNIX_ADDRESS = /^unix:\/[^\s\p{Cc},]+$/u;

/**
 * The longest path of a Unix socket, bytes. The kernel takes 107; a listener first binds the path with a point and its process ID
 * (7 digits) behind it.
 */
export const MAX_SOCKET_PATH_BYTES = 99;

/** Returns whether a text is the address of a listener: `host:port`, `[IPv6 address]:port`, or `unix:` and an absolute path. */
export function isListenerAddress(text: string): boolean {
  return TCP_ADDRESS.test(text) || (UNIX_ADDRESS.test(text) && Buffer.byteLength(socketPathOf(text)!) <= MAX_SOCKET_PATH_BYTES);
}

/** Returns the path of a Unix socket's address; undefined: the address is `host:port`. */
export function socketPathOf(address: string): string | undefined {
  return address.startsWith(UNIX) ? address.slice(UNIX.length) : undefined;
}

/** Returns the address of a Unix socket at an absolute path. */
export function socketAddressOf(path: string): string {
  return `${UNIX}${path}`;
}
