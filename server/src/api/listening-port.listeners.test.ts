import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { noLimits } from "../testing/no-limits.js";
import { silentLog } from "../testing/silent-ports.js";
import { Clients } from "./limits/clients.js";
import { ListeningPort } from "./listening-port.js";

describe("a listening port", () => {
  let clients: Clients;
  let server: Server;
  let port: ListeningPort;
  let closed: Promise<unknown>[];

  beforeEach(async () => {
    clients = new Clients({ ...noLimits, maxConnections: 2 }, new ManualClock());
    server = createServer();
    port = new ListeningPort(server, { listen: { tcp: { host: "127.0.0.1", port: 0 } }, clients, log: silentLog });
    closed = [];
    await port.open();
  });

  afterEach(async () => {
    port.cutOff();
    await Promise.all([port.close(), ...closed]);
    expect([port.openConnections, clients.connections]).toEqual([0, 0]);
  });

  /** A connection, as both of its ends have it. */
  async function connection(): Promise<{ peer: string; closed: Promise<unknown> }> {
    const accepted = once(server, "connection");
    const socket = connect(port.address).on("error", () => {});
    await once(socket, "connect");
    const [there] = (await accepted) as [Socket];
    const bothClosed = Promise.all([once(socket, "close"), there.closed || once(there, "close")]);
    closed.push(bothClosed);
    return { peer: `${socket.localAddress}:${socket.localPort}`, closed: bothClosed };
  }

  it("counts connections per client, and closes connections over the limit", async () => {
    await connection();
    await connection();
    const { closed } = await connection();
    await closed;
    expect([port.openConnections, clients.connections, clients.refusedConnections]).toEqual([2, 2, 1]);
  });

  it("closes the connections of one peer and keeps the others", async () => {
    const slow = await connection();
    await connection();
    port.cutOff(slow.peer);
    await slow.closed;
    expect(port.openConnections).toBe(1);
  });

  it("accepts no connections while it closes, and is closed with its last connection", async () => {
    await connection();
    let isClosed = false;
    const closing = port.close().then(() => {
      isClosed = true;
    });
    const late = connect(port.address);
    await expect(once(late, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(isClosed).toBe(false);
    port.cutOff();
    await closing;
  });
});

describe("a port on [::]", () => {
  it("accepts IPv4 and IPv6", async () => {
    const clients = new Clients(noLimits, new ManualClock());
    const port = new ListeningPort(createServer(), { listen: { tcp: { host: "::", port: 0 } }, clients, log: silentLog });
    await port.open();
    for (const host of ["127.0.0.1", "::1"]) {
      const socket = connect({ host, port: port.address.port });
      await once(socket, "connect");
      socket.destroy();
    }
    port.cutOff();
    await port.close();
  });

  it("accepts IPv4 on a host without IPv6", async () => {
    const server = createServer();
    const listen = server.listen.bind(server) as (options: object) => Server;
    const listenWithoutIpv6 = (options: { host: string }): Server => {
      if (options.host !== "::") return listen(options);
      const error = Object.assign(new Error("listen EAFNOSUPPORT"), { code: "EAFNOSUPPORT" });
      process.nextTick(() => server.emit("error", error));
      return server;
    };
    Object.assign(server, { listen: listenWithoutIpv6 });
    const clients = new Clients(noLimits, new ManualClock());
    const port = new ListeningPort(server, { listen: { tcp: { host: "::", port: 0 } }, clients, log: silentLog });
    await port.open();
    expect(port.address.host).toBe("0.0.0.0");
    const socket = connect({ host: "127.0.0.1", port: port.address.port });
    await once(socket, "connect");
    socket.destroy();
    port.cutOff();
    await port.close();
  });
});
