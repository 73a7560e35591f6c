import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { HostPort } from "../config/addresses.js";
import type { ListenAddress } from "../config/listen-address.js";
import type { Log } from "../runtime/log.js";
import type { Clients } from "./limits/clients.js";
import { listenOnSocket, type SocketFile } from "./socket-file.js";

export interface ListeningPortOptions {
  readonly listen: ListenAddress;
  /** Permissions of the Unix socket, if there is one. Absent: only this user may connect. */
  readonly socketMode?: number | undefined;
  /** Counts the connections of each client. Connections over the limit are closed immediately. */
  readonly clients: Clients;
  readonly log: Log;
}

/** Errors of listening on `[::]` where the kernel has no IPv6. */
const NO_IPV6 = new Set(["EAFNOSUPPORT", "EADDRNOTAVAIL"]);

/** What all clients of Unix sockets are called in limits and logs, where others have their IP address. */
export const SOCKET_CLIENT = "unix";

/** Distinguishes connections through Unix sockets, as the client's port distinguishes others. */
let lastSocketNumber = 0;

/**
 * Where a listener accepts connections, a TCP port, a Unix socket, or both, from listening to the end of its last connection.
 * Connections through the Unix socket are passed to the same server, so that they are served like all others, with TLS if it is
 * configured.
 */
export class ListeningPort {
  readonly #server: Server;
  readonly #options: ListeningPortOptions;
  /** Accepts the connections through the Unix socket. */
  readonly #local: Server;
  #file: SocketFile | undefined;

  /** All accepted connections, including those in a handshake. */
  readonly #sockets = new Set<Socket>();
  #address: HostPort | undefined;

  constructor(server: Server, options: ListeningPortOptions) {
    this.#server = server;
    this.#options = options;
    server.on("connection", (socket: Socket) => this.#track(socket));
    const { allowHalfOpen = false } = server as { readonly allowHalfOpen?: boolean };
    this.#local = createServer({ allowHalfOpen }, (socket) => {
      namePeer(socket, SOCKET_CLIENT, ++lastSocketNumber);
      server.emit("connection", socket);
    });
  }

  /** Starts listening. Rejects with the system's error if an address cannot be listened on; nothing is left open then. */
  async open(): Promise<void> {
    const { log, listen, socketMode = 0o600 } = this.#options;
    const { tcp, socketPath } = listen;
    if (socketPath !== undefined) this.#file = await listenOnSocket(this.#local, socketPath, socketMode);
    try {
      if (tcp !== undefined) this.#address = await this.#listen(tcp);
    } catch (error) {
      await this.close();
      throw error;
    }
    // A connection that could not be accepted affects only its client.
    const onError = (error: Error): void => log.warn({ event: "accept-failed" }, `cannot accept a connection: ${error.message}`);
    this.#server.on("error", onError);
    this.#local.on("error", onError);
  }

  /** On a host without IPv6, `[::]` comes to all addresses of IPv4. Resolves with the address that it listens on. */
  async #listen(listen: HostPort): Promise<HostPort> {
    const { host } = await this.#listenOn(listen);
    return { host, port: (this.#server.address() as AddressInfo).port };
  }

  async #listenOn(listen: HostPort): Promise<HostPort> {
    try {
      await once(this.#server.listen(listen), "listening");
      return listen;
    } catch (error) {
      if (listen.host !== "::" || !NO_IPV6.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
      const byIpv4 = { ...listen, host: "0.0.0.0" };
      await once(this.#server.listen(byIpv4), "listening");
      return byIpv4;
    }
  }

  /** The TCP address that it listens on, with the actual port if 0 was configured. Throws if it has only a Unix socket. */
  get address(): HostPort {
    if (this.#address === undefined) throw new Error("the listener has no TCP address");
    return this.#address;
  }

  /** Number of open connections, including idle ones. */
  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Stops accepting connections and removes the Unix socket. Resolves when no connection is open. */
  async close(): Promise<void> {
    // An error says that the server does not listen.
    const closed = [this.#server, this.#local].map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    await this.#file?.remove();
    await Promise.all(closed);
  }

  /** Closes the connections of a client's `address:port`, or all connections, immediately. */
  cutOff(peer?: string): void {
    for (const socket of this.#sockets) {
      if (peer === undefined || peer === `${socket.remoteAddress}:${socket.remotePort}`) socket.destroy();
    }
  }

  /** Gives a connection with TLS the name of the socket below it, which Node does only for TCP. */
  nameSecured(socket: Socket): void {
    const { _parent: below } = socket as { readonly _parent?: Socket };
    if (below?.remoteAddress === SOCKET_CLIENT) namePeer(socket, below.remoteAddress, below.remotePort!);
  }

  #track(socket: Socket): void {
    const { clients } = this.#options;
    const client = clients.connected(socket.remoteAddress);
    if (client === undefined) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      clients.disconnected(client);
    });
  }
}

/** Gives a connection the address and port of its client, which a Unix socket does not have. */
function namePeer(socket: Socket, address: string, port: number): void {
  Object.defineProperties(socket, { remoteAddress: { value: address }, remotePort: { value: port } });
}
