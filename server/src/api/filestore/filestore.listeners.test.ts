import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RawClient } from "../../testing/raw-client.js";
import { type SentRequest, ValueListener } from "../../testing/value-listener.js";
import { patterned } from "../../testing/value-samples.js";
import { filestoreSite, MAX_FILE_BYTES } from "./filestore-site.js";

let files: ValueListener;
beforeEach(async () => {
  files = await ValueListener.open("filestore", () => filestoreSite({ bucket: "filestore", maxFileBytes: MAX_FILE_BYTES }));
});
afterEach(() => files[Symbol.asyncDispose]());

const chunked = { headers: { "transfer-encoding": "chunked" } };

/** A request, and the response by the routes of memcache-filestore: its status, and the message of its error. */
type Line = readonly [line: string, method: string, path: string, sent: SentRequest, status: number, message?: string];

const lines: readonly Line[] = [
  ["store", "POST", "/file/myfile.dat", { body: "some bytes" }, 200],
  ["no overwriting", "POST", "/file/myfile.dat", { body: "others" }, 409, "File already exists"],
  ["retrieve", "GET", "/file/myfile.dat", {}, 200],
  ["delete", "DELETE", "/file/myfile.dat", {}, 200],
  ["delete again", "DELETE", "/file/myfile.dat", {}, 404, "File not found"],
  ["retrieve nothing", "GET", "/file/myfile.dat", {}, 404, "File not found"],
  ["store after delete", "POST", "/file/myfile.dat", { ...chunked, body: "new bytes" }, 200],
  ["an empty file", "POST", "/file/empty", { body: "" }, 200],
  ["retrieve the empty file", "GET", "/file/empty", {}, 200],
  ["a name with dots", "POST", "/file/..", { body: "x" }, 200],
  ["and with escapes", "POST", "/file/a%20b.%C3%A9", { body: "x" }, 200],
  ["a name is one segment", "POST", "/file/a/b", { body: "x" }, 404, "404 page not found"],
  ["escaped or not", "POST", "/file/a%2Fb", { body: "x" }, 404, "404 page not found"],
  ["a name is required", "POST", "/file/", { body: "x" }, 404, "404 page not found"],
  ["a name has a limit", "POST", `/file/${"n".repeat(8_193)}`, { body: "x" }, 400, "the name is longer than 8192 bytes"],
  ["another path", "GET", "/other", {}, 404, "404 page not found"],
  ["another method", "PUT", "/file/a", { body: "x" }, 405, "PUT is not allowed for files: use POST, GET, DELETE"],
  ["HEAD is not known", "HEAD", "/file/empty", {}, 405],
];

describe("memcache-filestore's routes, line by line", () => {
  it("answer with the statuses and messages of the document", async () => {
    for (const [line, method, path, sent, status, message] of lines) {
      const reply = await files.send(method, path, sent);
      expect([line, reply.status]).toEqual([line, status]);
      if (message === undefined) continue;
      expect(reply.headers["content-type"]).toBe("application/json");
      expect([line, reply.body.toString()]).toEqual([line, `{\n  "error": ${JSON.stringify(message)}\n}`]);
    }
  });

  it("return the bytes of a file as octets, whatever the request's range", async () => {
    const bytes = patterned(3_000_000);
    await files.send("POST", "/file/a", { body: bytes, headers: { "content-type": "text/plain" } });
    const { status, headers, body } = await files.send("GET", "/file/a", { headers: { range: "bytes=0-1" } });
    expect([status, headers["content-type"], body.equals(bytes)]).toEqual([200, "application/octet-stream", true]);
    expect((await files.send("GET", "/file/a")).body.equals(bytes)).toBe(true);
  });

  it("take files of 50 MiB, and not a byte more", async () => {
    const tooLarge = { "content-length": String((50 << 20) + 1), expect: "100-continue" };
    await using client = await RawClient.connect(files.port);
    client.request("POST", "/file/large", ...Object.entries(tooLarge).map(([name, value]) => `${name}: ${value}`));
    const refused = await client.answer();
    expect([refused.status, JSON.parse(refused.body.toString())]).toEqual([400, { error: "File is too large" }]);
    expect((await files.send("GET", "/file/large")).status).toBe(404);
  });

  it("refuse a file that turns out too long while it is sent in chunks", async () => {
    await using small = await ValueListener.open("filestore", () => filestoreSite({ bucket: "filestore", maxFileBytes: 10 }));
    const refused = await small.send("POST", "/file/large", { ...chunked, body: "more than ten bytes" });
    expect([refused.status, JSON.parse(refused.body.toString())]).toEqual([400, { error: "File is too large" }]);
    expect((await small.send("GET", "/file/large")).status).toBe(404);
    expect((await small.send("POST", "/file/large", { ...chunked, body: "ten bytes!" })).status).toBe(200);
  });

  it("store a name once, if two clients send it at the same time", async () => {
    const answers = await Promise.all(["one", "two"].map((body) => files.send("POST", "/file/race", { body })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  });
});
