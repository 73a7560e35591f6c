import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command } from "@aws-sdk/client-s3";
import { requestHead } from "@frontcache/client/testing";
import { parsePlainRequest } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";
import { sdkClient } from "./sdk-client.js";

describe("a request of frontcache's clients", () => {
  it.each(["key", "a/b//c", "é ~!*'()?#%+&", "tab\t, line\r\nbreak, \0", "k".repeat(1024), "é".repeat(512)])(
    "has the fixed form of the plain lane for the key %s",
    (key) => {
      for (const version of ["", "v1", "W/v1"]) {
        for (const host of ["member-0.cache:8081", "10.0.0.1:8081", "[::1]:8081"]) {
          const request = { url: `s3://bucket/${key}`, offset: 2 ** 40, length: 2 ** 24, version };
          for (const authorization of [undefined, "Bearer a-token.of_~+/-="]) {
            const head = requestHead(request as never, host, authorization);
            const parsed = parsePlainRequest(Buffer.from(head, "latin1"), "prefixed");
            expect(parsed?.headers).toMatchObject({ host, ...(authorization !== undefined && { authorization }) });
          }
        }
      }
    },
  );
});

describe("a signed request of AWS's SDK", () => {
  it("has a form that the plain lane recognizes", async () => {
    const received: Buffer[] = [];
    const server = createServer((socket) =>
      socket.on("data", (bytes) => {
        received.push(bytes);
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      }),
    ).listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = sdkClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const object = { Bucket: "bucket", Key: "a key/é" };
    await client.send(new GetObjectCommand(object));
    await client.send(new GetObjectCommand({ ...object, Range: "bytes=0-9", IfMatch: '"v1"' }));
    await client.send(new HeadObjectCommand(object));
    await client.send(new ListObjectsV2Command({ Bucket: "bucket", Prefix: "a key/", Delimiter: "/", MaxKeys: 10 }));
    client.destroy();
    server.close();
    await once(server, "close");
    for (const bytes of received) {
      const authorization = expect.stringMatching(/^AWS4-HMAC-SHA256 /);
      expect(parsePlainRequest(bytes, "root")).toMatchObject({ isPlain: false, headers: { authorization } });
    }
    expect(received).toHaveLength(4);
  });
});
