import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Reads, readShared } from "./shared-reads.js";

/** An accepted socket whose bytes are read into the shared buffer, and its client. */
interface Accepted {
  readonly client: Socket;
  readonly socket: Socket;
  readonly reads: Reads;
  /** The bytes that did not become those of the stream, as text. */
  readonly received: () => string;
}

describe("reads into the shared buffer", () => {
  let server: Server;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    server = createServer();
    await once(server.listen(0, "127.0.0.1"), "listening");
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.close();
    await once(server, "close");
  });

  const open = async (): Promise<Accepted> => {
    let received = "";
    const accepted = new Promise<Omit<Accepted, "client" | "received">>((resolve) => {
      server.once("connection", (socket) => {
        const reads = readShared(socket, (buffer, count) => {
          received += buffer.toString("latin1", 0, count);
        });
        resolve({ socket, reads });
      });
    });
    const client = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
    const { socket, reads } = await accepted;
    sockets.push(client, socket);
    return { client, socket, reads, received: () => received };
  };

  it("bring each socket its own bytes, without its stream", async () => {
    const [first, second] = [await open(), await open()];
    first.client.write("bytes of the first");
    second.client.write("bytes of the second");
    await eventually(() => expect([first.received(), second.received()]).toEqual(["bytes of the first", "bytes of the second"]));
    expect([first.socket.bytesRead, first.socket.readableLength, first.socket.listenerCount("data")]).toEqual([18, 0, 0]);
  });

  it("report the end of the connection", async () => {
    const { client, socket, received } = await open();
    const ended = once(socket, "end");
    client.end("last bytes");
    await ended;
    expect(received()).toBe("last bytes");
  });

  it("become the stream's on request, with its pauses, and leave it again", async () => {
    const { client, socket, reads, received } = await open();
    client.write("one ");
    await eventually(() => expect(received()).toBe("one "));
    reads.toStream();
    socket.unshift(Buffer.from("zero "));
    let streamed = "";
    const onData = (bytes: Buffer): void => {
      streamed += bytes.toString("latin1");
    };
    socket.on("data", onData);
    // More than a stream buffers.
    const much = "m".repeat(1 << 20);
    client.write(much);
    await eventually(() => expect(streamed.length).toBeGreaterThan("zero ".length));
    socket.pause();
    socket.resume();
    await eventually(() => expect(streamed.length).toBe("zero ".length + much.length));
    expect(streamed).toBe(`zero ${much}`);
    socket.off("data", onData);
    reads.fromStream();
    socket.resume();
    client.write("two");
    await eventually(() => expect(received()).toBe("one two"));
  });
});
