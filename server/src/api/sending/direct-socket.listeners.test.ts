import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadLibc } from "../../storage/mapping/libc.js";
import { DirectSocket, FULL, UNAVAILABLE } from "./direct-socket.js";

const BYTES = Buffer.from("bytes of a block");
const libc = await loadLibc();

/** Both ends of a connection. */
interface Pair {
  readonly socket: Socket;
  readonly client: Socket;
  /** Resolves with everything that the client receives, when the connection ends. */
  readonly received: Promise<string>;
}

function descriptorOf(socket: Socket): number | undefined {
  return (socket as Socket & { _handle: { fd: number } | null })._handle?.fd;
}

describe.runIf(libc !== undefined)("a direct socket", () => {
  let server: Server;
  let directory: string;
  let file: number;
  const pairs: Pair[] = [];

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "direct-socket-"));
    writeFileSync(join(directory, "file"), BYTES);
    file = openSync(join(directory, "file"), "r");
    server = createServer({ allowHalfOpen: true });
    await once(server.listen(0, "127.0.0.1"), "listening");
  });

  afterEach(async () => {
    for (const { socket, client } of pairs.splice(0)) {
      socket.destroy();
      client.destroy();
    }
    server.close();
    await once(server, "close");
    closeSync(file);
    rmSync(directory, { recursive: true });
  });

  const open = async (): Promise<Pair> => {
    const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
    const [socket] = (await once(server, "connection")) as [Socket];
    for (const end of [client, socket]) end.on("error", () => {});
    let text = "";
    client.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    const closed = new Promise((resolve) => client.on("close", resolve));
    const pair = { socket, client, received: closed.then(() => text) };
    pairs.push(pair);
    return pair;
  };

  it("sends bytes and a file's bytes in order", async () => {
    const { socket, received } = await open();
    const direct = new DirectSocket(socket, libc!);
    expect(direct.send(Buffer.from("head, rest"), 6, true)).toBe(6);
    expect(direct.sendFile(file, 9, 7)).toBe(7);
    socket.end();
    expect(await received).toBe("head, a block");
  });

  it("sends nothing while bytes wait in the stream, so that they keep their order", async () => {
    const { socket, client, received } = await open();
    const direct = new DirectSocket(socket, libc!);
    client.pause();
    const much = Buffer.alloc(16 << 20, "s");
    const written = new Promise((resolve) => socket.write(much, resolve));
    expect([direct.send(BYTES, 5, false), direct.sendFile(file, 0, 5)]).toEqual([UNAVAILABLE, UNAVAILABLE]);
    client.resume();
    await written;
    expect(direct.sendFile(file, 0, 5)).toBe(5);
    socket.end();
    expect(await received).toBe(`${much.toString()}bytes`);
  });

  it("reports a full socket", async () => {
    const { socket, client } = await open();
    client.pause();
    const direct = new DirectSocket(socket, libc!);
    const much = Buffer.alloc(1 << 20);
    let sent = much.length;
    while (sent > FULL) sent = direct.send(much, much.length, false);
    expect([sent, direct.sendFile(file, 0, 5)]).toEqual([FULL, FULL]);
  });

  it("throws if the file ends before the bytes", async () => {
    const { socket } = await open();
    const direct = new DirectSocket(socket, libc!);
    expect(direct.sendFile(file, 0, 100)).toBe(BYTES.length);
    expect(() => direct.sendFile(file, BYTES.length, 100)).toThrow("a block file ended at 16 while its bytes were sent");
  });

  it("closes the connection if the client has closed it", async () => {
    const { socket, client } = await open();
    const direct = new DirectSocket(socket, libc!);
    const closed = once(socket, "close");
    client.resetAndDestroy();
    // The reset arrives at some point: until then, the kernel takes the bytes.
    while (!socket.destroyed) {
      direct.sendFile(file, 0, 5);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await closed;
    expect(direct.sendFile(file, 0, 5)).toBe(UNAVAILABLE);
  });

  it.each([
    ["destroy", (socket: Socket) => void socket.destroy()],
    ["resetAndDestroy", (socket: Socket) => void socket.resetAndDestroy()],
    ["end", (socket: Socket) => void socket.end()],
  ])("sends nothing after `%s`, not even in the same step of the event loop", async (_, close) => {
    const { socket, received } = await open();
    const direct = new DirectSocket(socket, libc!);
    close(socket);
    expect([direct.send(BYTES, 5, false), direct.sendFile(file, 0, 5)]).toEqual([UNAVAILABLE, UNAVAILABLE]);
    socket.destroy();
    expect(await received).toBe("");
  });

  it("sends nothing to a new connection that has the descriptor of the closed one", async () => {
    const first = await open();
    const direct = new DirectSocket(first.socket, libc!);
    const descriptor = descriptorOf(first.socket);
    first.socket.destroy();
    await first.received;
    const later: Pair[] = [];
    let isReused = false;
    // The kernel gives the lowest free number to a new descriptor.
    for (let opened = 0; opened < 64 && !isReused; opened++) {
      later.push(await open());
      isReused = later.some(({ socket, client }) => [descriptorOf(socket), descriptorOf(client)].includes(descriptor));
    }
    expect(isReused).toBe(true);
    expect([direct.send(BYTES, 5, false), direct.sendFile(file, 0, 5)]).toEqual([UNAVAILABLE, UNAVAILABLE]);
    direct.cork();
    for (const { socket } of later) socket.end("own");
    for (const { client } of later) client.end();
    expect(await Promise.all(later.map(({ received }) => received))).toEqual(later.map(() => "own"));
  });
});
