import { isListenerAddress, MAX_SOCKET_PATH_BYTES, socketAddressOf, socketPathOf } from "@frontcache/proto";
import { formatHostPort, type HostPort, listenPort } from "./addresses.js";
import { type Parser, wrong } from "./parser.js";

/** Where a listener accepts connections: TCP, a Unix socket, or both. */
export interface ListenAddress {
  readonly tcp?: HostPort;
  /** Absolute path of the Unix socket. */
  readonly socketPath?: string;
}

/** The addresses of a listener, separated by a comma: at most one of each kind. */
export const listenAddress: Parser<ListenAddress> = {
  unit: "host:port|unix:/path",
  parse(text) {
    const found: { tcp?: HostPort; socketPath?: string } = {};
    for (const each of text.split(",").map((part) => part.trim())) {
      const socketPath = socketPathOf(each);
      const parsed = socketPath === undefined ? { tcp: listenPort.parse(each) } : { socketPath: pathIn(each) };
      if (Object.keys(parsed).some((kind) => kind in found)) {
        throw wrong(text, "an address of a listener", "one host:port, one unix:/path, or both separated by a comma");
      }
      Object.assign(found, parsed);
    }
    return found;
  },
};

function pathIn(address: string): string {
  if (isListenerAddress(address)) return socketPathOf(address)!;
  throw wrong(
    address,
    "a Unix socket",
    `unix: and an absolute path without blanks and commas, of at most ${MAX_SOCKET_PATH_BYTES} bytes`,
  );
}

/** The text of the addresses of a listener, as `listenAddress` parses it. */
export function formatListenAddress({ tcp, socketPath }: ListenAddress): string {
  const texts = [tcp && formatHostPort(tcp), socketPath && socketAddressOf(socketPath)];
  return texts.filter((text) => text !== undefined).join(",");
}

/** Permissions of a file in octal digits, as of chmod. */
export const fileMode: Parser<number> = {
  unit: "octal",
  parse(text) {
    if (!/^0?[0-7]{3}$/.test(text)) throw wrong(text, "a file mode", "three octal digits, as in 660");
    return Number.parseInt(text, 8);
  },
};
