import { once } from "node:events";
import { chmodSync, lstatSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { noLimits } from "../testing/no-limits.js";
import { silentLog } from "../testing/silent-ports.js";
import { Clients } from "./limits/clients.js";
import { ListeningPort } from "./listening-port.js";

describe("a listener on a Unix socket", () => {
  let directory: string;
  let path: string;
  let clients: Clients;
  const ports: ListeningPort[] = [];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "frontcache-socket-"));
    path = join(directory, "listener.sock");
    clients = new Clients(noLimits, new ManualClock());
  });
  afterEach(async () => {
    for (const port of ports) port.cutOff();
    await Promise.all(ports.splice(0).map((port) => port.close()));
    rmSync(directory, { recursive: true });
  });

  async function open(options: { tcp?: boolean; server?: Server; socketMode?: number } = {}): Promise<ListeningPort> {
    const { server = createServer((socket) => socket.on("error", () => {}).end("hello")), socketMode } = options;
    const tcp = options.tcp === true ? { tcp: { host: "127.0.0.1", port: 0 } } : {};
    const port = new ListeningPort(server, { listen: { ...tcp, socketPath: path }, socketMode, clients, log: silentLog });
    ports.push(port);
    await port.open();
    return port;
  }

  async function textFrom(address: string | { host: string; port: number }): Promise<string> {
    let text = "";
    for await (const chunk of typeof address === "string" ? connect(address) : connect(address)) text += chunk;
    return text;
  }

  it("serves connections, and removes the socket when it closes", async () => {
    const port = await open();
    expect(await textFrom(path)).toBe("hello");
    await port.close();
    expect(() => lstatSync(path)).toThrow("ENOENT");
  });

  it("serves the same connections over TCP", async () => {
    const port = await open({ tcp: true });
    expect([await textFrom(path), await textFrom(port.address)]).toEqual(["hello", "hello"]);
  });

  it("has no TCP address if none is configured", async () => {
    const port = await open();
    expect(() => port.address).toThrow("no TCP address");
  });

  it("gives the socket the configured permissions, and only this user any by default", async () => {
    const modeOf = (): number => lstatSync(path).mode & 0o777;
    await (await open({ socketMode: 0o626 })).close();
    await open({ socketMode: 0o626 });
    expect(modeOf()).toBe(0o626);
    await ports[1]!.close();
    await open();
    expect(modeOf()).toBe(0o600);
  });

  it("names clients, counts their connections, and closes those of one client", async () => {
    const server = createServer();
    const port = await open({ server });
    const accept = async () => {
      const accepted = once(server, "connection");
      const socket = connect(path).on("error", () => {});
      const [there] = await accepted;
      return { socket, peer: `${there.remoteAddress}:${there.remotePort}`, closed: once(socket, "close") };
    };
    const [one, another] = [await accept(), await accept()];
    expect(one.peer).toMatch(/^unix:\d+$/);
    expect(another.peer).not.toBe(one.peer);
    expect([clients.of("unix").connections, port.openConnections]).toEqual([2, 2]);
    port.cutOff(one.peer);
    await one.closed;
    expect(port.openConnections).toBe(1);
    port.cutOff();
    await another.closed;
  });

  it("replaces a socket that nobody listens on", async () => {
    const killed = createServer().listen(join(directory, "killed"));
    await once(killed, "listening");
    // Closing the server removes its own name only, as a process that is killed removes none.
    renameSync(join(directory, "killed"), path);
    await new Promise((resolve) => killed.close(resolve));
    await expect(textFrom(path)).rejects.toThrow("ECONNREFUSED");
    await open();
    expect(await textFrom(path)).toBe("hello");
  });

  it("refuses a path on which another server listens, and does not disturb it", async () => {
    await open();
    await expect(open({ tcp: true })).rejects.toMatchObject({ code: "EADDRINUSE", address: path });
    expect(await textFrom(path)).toBe("hello");
  });

  it("refuses a path at which there is a file of another kind, and keeps the file", async () => {
    writeFileSync(path, "precious");
    await expect(open()).rejects.toMatchObject({ code: "EEXIST", message: expect.stringContaining("file of another kind") });
    expect(lstatSync(path).size).toBe("precious".length);
  });

  it("refuses a path in a directory that does not exist", async () => {
    path = join(directory, "missing", "a.sock");
    await expect(open()).rejects.toMatchObject({ code: "ENOENT", address: join(directory, "missing") });
  });

  it("leaves a socket alone that has replaced its own", async () => {
    const port = await open();
    renameSync(path, `${path}.before`);
    const newer = await open();
    await port.close();
    expect(await textFrom(path)).toBe("hello");
    await newer.close();
    chmodSync(`${path}.before`, 0o600);
  });

  it("closes the Unix socket if the TCP address cannot be used", async () => {
    const taken = await open({ tcp: true });
    const other = new ListeningPort(createServer(), {
      listen: { tcp: taken.address, socketPath: join(directory, "other.sock") },
      clients,
      log: silentLog,
    });
    await expect(other.open()).rejects.toThrow("EADDRINUSE");
    expect(() => lstatSync(join(directory, "other.sock"))).toThrow("ENOENT");
  });
});
