import { once } from "node:events";
import type { AddressInfo, Server, Socket } from "node:net";
import type { HostPort } from "../config/addresses.js";
import type { Log } from "../runtime/log.js";
import type { Clients } from "./limits/clients.js";

export interface ListeningPortOptions {
  readonly listen: HostPort;
  /** Counts the connections of each client. Connections over the limit are closed immediately. */
  readonly clients: Clients;
  readonly log: Log;
}

/** Errors of listening on `[::]` where the kernel has no IPv6. */
const NO_IPV6 = new Set(["EAFNOSUPPORT", "EADDRNOTAVAIL"]);

/** The TCP port of a listener, from listening to the end of its last connection. */
export class ListeningPort {
  readonly #server: Server;
  readonly #options: ListeningPortOptions;

  /** All accepted connections, including those in a handshake. */
  readonly #sockets = new Set<Socket>();
  #address: HostPort;

  constructor(server: Server, options: ListeningPortOptions) {
    this.#server = server;
    this.#options = options;
    this.#address = options.listen;
    server.on("connection", (socket: Socket) => this.#track(socket));
  }

  /** Starts listening. Rejects with the system's error if the address cannot be listened on. */
  async open(): Promise<void> {
    const { log } = this.#options;
    const { host } = await this.#listen();
    this.#address = { host, port: (this.#server.address() as AddressInfo).port };
    // A connection that could not be accepted affects only its client.
    this.#server.on("error", (error) => log.warn({ event: "accept-failed" }, `cannot accept a connection: ${error.message}`));
  }

  /** On a host without IPv6, `[::]` comes to all addresses of IPv4. Resolves with the address that it listens on. */
  async #listen(): Promise<HostPort> {
    const { listen } = this.#options;
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

  /** The address that it listens on, with the actual port if 0 was configured. */
  get address(): HostPort {
    return this.#address;
  }

  /** Number of open connections, including idle ones. */
  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Stops accepting connections. Resolves when none is open. */
  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** Closes the connections of a client's `address:port`, or all connections, immediately. */
  cutOff(peer?: string): void {
    for (const socket of this.#sockets) {
      if (peer === undefined || peer === `${socket.remoteAddress}:${socket.remotePort}`) socket.destroy();
    }
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
