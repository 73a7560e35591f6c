import { createHash, createHmac } from "node:crypto";
import { eventually } from "@frontcache/proto/testing";
import { ManualClock, RawClient } from "@frontcache/server/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WritesUnderTest } from "./writes-under-test.js";

const TOKEN = "a-token-of-ada-0123456789";
const KEY = { id: "AKIAADA", secret: "a-secret-of-ada-0123456789" };
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

const FILE = `
identities:
  - name: ada
    tokens: ${sha256(TOKEN)}
    accessKeys: [{ id: ${KEY.id}, secret: ${KEY.secret} }]
grants:
  - { to: ada, operations: [write, delete], buckets: s3://bucket, prefixes: mine/ }
  - { to: ada, operations: read, buckets: s3://bucket, prefixes: shared/ }
`;

let under: WritesUnderTest;
/** How long clients are waited for. */
const clock = new ManualClock();

beforeAll(async () => {
  under = await WritesUnderTest.open({
    identities: FILE,
    listenerClock: clock,
    answer: () => ({ body: Buffer.from("<DeleteResult></DeleteResult>") }),
  });
});

afterAll(() => under[Symbol.asyncDispose]());
beforeEach(() => under.forget());

const AS_ADA = { authorization: `Bearer ${TOKEN}` };

async function send(method: string, path: string, headers: Record<string, string> = {}, body?: string) {
  const url = `http://127.0.0.1:${under.listeners.httpPort}/s3/bucket${path}`;
  // A kept connection could be ended by the clock of the under.listeners.
  const all = { ...headers, connection: "close" };
  const response = await fetch(url, { method, headers: all, ...(body !== undefined && { body }) });
  const text = await response.text();
  return { status: response.status, code: /<Code>(\w+)<\/Code>/.exec(text)?.[1], text };
}

describe("a write of an identity", () => {
  it.each<[string, string, Record<string, string>, number]>([
    ["PUT", "/mine/k", {}, 200],
    ["PUT", "/mine/dir/", {}, 200],
    ["PUT", "/other/k", {}, 403],
    ["PUT", "/shared/k", {}, 403],
    ["PUT", "/mine", {}, 403],
    ["DELETE", "/mine/k", {}, 200],
    ["DELETE", "/other/k", {}, 403],
    ["POST", "/mine/k?uploads", {}, 200],
    ["POST", "/other/k?uploads", {}, 403],
    ["PUT", "/mine/k?uploadId=a&partNumber=1", {}, 200],
    ["PUT", "/other/k?uploadId=a&partNumber=1", {}, 403],
    ["DELETE", "/other/k?uploadId=a", {}, 403],
    ["PUT", "/mine/k?tagging", {}, 200],
    ["PUT", "/mine/k?acl", {}, 403],
    ["PUT", "/mine/k?retention", {}, 403],
    ["PUT", "/mine/k", { "x-amz-acl": "public-read" }, 403],
    ["PUT", "/mine/k", { "x-amz-grant-read": "id=a" }, 403],
    ["PUT", "/mine/k", { "x-amz-unheard-of": "a" }, 403],
    ["PUT", "/mine/k", { "x-amz-meta-author": "ada", "x-amz-storage-class": "GLACIER" }, 200],
    ["PUT", "/mine/k", { "x-amz-copy-source": "bucket/shared/k" }, 200],
    ["PUT", "/mine/k", { "x-amz-copy-source": "/bucket/shared%2Fk" }, 200],
    ["PUT", "/mine/k", { "x-amz-copy-source": "bucket/other/k" }, 403],
    ["PUT", "/mine/k", { "x-amz-copy-source": "elsewhere/shared/k" }, 403],
    ["PUT", "/mine/k?uploadId=a&partNumber=1", { "x-amz-copy-source": "bucket/other/k" }, 403],
    ["PUT", "?policy", {}, 403],
    ["PUT", "", {}, 409],
    ["DELETE", "", {}, 403],
  ])("%s %s with the headers %j is decided by its grants", async (method, path, headers, status) => {
    const answer = await send(method, path, { ...headers, ...AS_ADA });
    expect(answer.status).toBe(status);
    expect(under.written.length).toBe(status === 200 ? 1 : 0);
    if (status === 403) {
      expect(answer.code).toBe("AccessDenied");
      expect(under.audited).toMatchObject([{ event: "audit", outcome: "denied", principal: "ada" }]);
    } else if (status === 200) expect(under.audited[0]).toMatchObject({ event: "audit", outcome: "allowed", principal: "ada" });
  });

  it("is denied without credentials", async () => {
    expect((await send("PUT", "/mine/k", {}, "hello")).code).toBe("AccessDenied");
    expect((await send("DELETE", "/mine/k")).code).toBe("AccessDenied");
    expect(under.written).toEqual([]);
  });

  it("of many deletes is decided key by key", async () => {
    const keys = ["mine/a", "other/b", "mine/c"];
    const xml = `<Delete>${keys.map((key) => `<Object><Key>${key}</Key></Object>`).join("")}</Delete>`;
    const { status, text } = await send("POST", "?delete", AS_ADA, xml);
    expect([status, /<Error><Key>(.*?)<\/Key><Code>(.*?)<\/Code>/.exec(text)?.slice(1)]).toEqual([
      200,
      ["other/b", "AccessDenied"],
    ]);
    expect(under.written).toHaveLength(1);
    const { body, changes } = under.written[0]!;
    expect(String(body)).not.toContain("other/b");
    expect(changes.map(({ url }) => url)).toEqual(["s3://bucket/mine/a", "s3://bucket/mine/c"]);
  });

  const deleting = (objects: string): string => `<Delete>${objects}</Delete>`;
  const object = "<Object><Key>mine/a</Key></Object>";
  it.each<[string, string, string]>([
    ["10,001 keys", deleting(object.repeat(10_001)), "MalformedXML"],
    ["1,001 keys", deleting(object.repeat(1_001)), "MalformedXML"],
    ["no key", deleting(""), "MalformedXML"],
    ["a document of more than 8 MiB", deleting(`${object}${" ".repeat(8 << 20)}`), "EntityTooLarge"],
    [
      "an entity that it declares",
      `<!DOCTYPE a [<!ENTITY b "mine/a">]>${deleting("<Object><Key>&b;</Key></Object>")}`,
      "MalformedXML",
    ],
    ["an external entity", `<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>${deleting(object)}`, "MalformedXML"],
    ["an entity that nobody declares", deleting("<Object><Key>&b;</Key></Object>"), "MalformedXML"],
    ["a character that XML forbids", deleting("<Object><Key>&#xD800;</Key></Object>"), "MalformedXML"],
    ["CDATA", deleting("<Object><Key><![CDATA[mine/a]]></Key></Object>"), "MalformedXML"],
    ["10,000 levels", `${"<Delete>".repeat(10_000)}${object}${"</Delete>".repeat(10_000)}`, "MalformedXML"],
    ["a document that is cut", deleting(object).slice(0, -3), "MalformedXML"],
  ])("that deletes by %s is refused, and leaves one line in the audit log", async (_, body, code) => {
    const answer = await send("POST", "?delete", AS_ADA, body);
    expect([answer.status, answer.code]).toEqual([400, code]);
    expect(under.written).toEqual([]);
    expect(under.audited).toMatchObject([{ event: "audit", outcome: "failed", principal: "ada", operation: "DeleteObjects" }]);
    expect(under.audited).toHaveLength(1);
  });

  it.each<[string, string, Record<string, string>, string]>([
    ["part number 0", "/mine/k?uploadId=a&partNumber=0", {}, "InvalidArgument"],
    ["part number 10,001", "/mine/k?uploadId=a&partNumber=10001", {}, "InvalidArgument"],
    ["an unknown parameter", "/mine/k?foo=bar", {}, "InvalidArgument"],
    ["a malformed Content-MD5", "/mine/k", { "content-md5": "abc" }, "InvalidDigest"],
    ["an unknown form of its body", "/mine/k", { "x-amz-content-sha256": "FOO" }, "InvalidArgument"],
    ["a trailer without a streamed body", "/mine/k", { "x-amz-trailer": "x-amz-checksum-crc32" }, "InvalidRequest"],
  ])("with %s is refused, and leaves one line in the audit log", async (_, path, headers, code) => {
    const answer = await send("PUT", path, { ...AS_ADA, ...headers }, "hello");
    expect([answer.status, answer.code]).toEqual([400, code]);
    expect(under.written).toEqual([]);
    expect(under.audited).toMatchObject([{ event: "audit", outcome: "failed", principal: "ada" }]);
    expect(under.audited).toHaveLength(1);
  });

  it("that is damaged leaves one line in the audit log", async () => {
    const answer = await send("PUT", "/mine/k", { ...AS_ADA, "content-md5": "AAAAAAAAAAAAAAAAAAAAAA==" }, "hello");
    expect(answer.code).toBe("BadDigest");
    expect(under.audited).toMatchObject([
      { outcome: "failed", operation: "PutObject", object: "s3://bucket/mine/k", principal: "ada" },
    ]);
  });
});

describe("a body that ends early", () => {
  /** Begins a write of 1,000 bytes, of which 10 arrive. */
  async function begin(): Promise<RawClient> {
    const client = await RawClient.connect(under.listeners.httpPort);
    client.request("PUT", "/s3/bucket/mine/k", `Authorization: Bearer ${TOKEN}`, "Content-Length: 1000");
    client.send("0123456789");
    await eventually(() => expect(under.written).toHaveLength(1));
    return client;
  }

  const LINE = { event: "audit", outcome: "failed", principal: "ada", operation: "PutObject", object: "s3://bucket/mine/k" };

  it("because its client stalls leaves one line in the audit log", async () => {
    const client = await begin();
    const answered = client.answer();
    await eventually(() => {
      clock.advance(20_000);
      expect(under.audited).toHaveLength(1);
    });
    const { status, body } = await answered;
    expect([status, /<Code>(\w+)</.exec(String(body))?.[1]]).toEqual([400, "RequestTimeout"]);
    await client[Symbol.asyncDispose]();
    await eventually(() => expect(under.listeners.http.runningAnswers).toBe(0));
    expect(under.audited).toMatchObject([LINE]);
    expect(under.audited).toHaveLength(1);
  });

  it("because its client disconnects leaves one line in the audit log", async () => {
    const client = await begin();
    client.socket.resetAndDestroy();
    await eventually(() => expect(under.audited).toHaveLength(1));
    await eventually(() => expect(under.listeners.http.runningAnswers).toBe(0));
    expect(under.audited).toMatchObject([LINE]);
    expect(under.audited).toHaveLength(1);
    await client[Symbol.asyncDispose]();
  });
});

describe("a body whose chunks are signed", () => {
  const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
  const chunks = ["hello ".repeat(2_000), "world"];

  /** A signed upload. `swap`: the first two chunks are exchanged, each with its signature. */
  async function upload(swap: boolean, change = (body: string) => body) {
    const date = `${new Date().toISOString().slice(0, 19).replace(/[-:]/g, "")}Z`;
    const scope = `${date.slice(0, 8)}/us-east-1/s3/aws4_request`;
    let key = hmac(`AWS4${KEY.secret}`, date.slice(0, 8));
    for (const part of ["us-east-1", "s3", "aws4_request"]) key = hmac(key, part);
    const headers = {
      host: `127.0.0.1:${under.listeners.httpPort}`,
      "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
      "x-amz-date": date,
      "x-amz-decoded-content-length": String(chunks.join("").length),
    };
    const names = Object.keys(headers).join(";");
    const lines = Object.entries(headers)
      .map(([name, value]) => `${name}:${value}\n`)
      .join("");
    const canonical = `PUT\n/s3/bucket/mine/k\n\n${lines}\n${names}\n${headers["x-amz-content-sha256"]}`;
    let signature = hmac(key, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256(canonical)}`).toString("hex");
    const authorization = `AWS4-HMAC-SHA256 Credential=${KEY.id}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
    const framed = [...chunks, ""].map((chunk) => {
      const text = `AWS4-HMAC-SHA256-PAYLOAD\n${date}\n${scope}\n${signature}\n${sha256("")}\n${sha256(chunk)}`;
      signature = hmac(key, text).toString("hex");
      return `${chunk.length.toString(16)};chunk-signature=${signature}\r\n${chunk}\r\n`;
    });
    if (swap) [framed[0], framed[1]] = [framed[1]!, framed[0]!];
    const { host: _, ...sent } = headers;
    return send("PUT", "/mine/k", { ...sent, authorization }, change(framed.join("")));
  }

  it("is accepted with its signatures", async () => {
    expect((await upload(false)).status).toBe(200);
  });

  it("is refused with chunks in another order, or with a changed byte", async () => {
    expect((await upload(true)).code).toBe("SignatureDoesNotMatch");
    expect((await upload(false, (body) => body.replace("world", "World"))).code).toBe("SignatureDoesNotMatch");
    expect(under.audited.filter(({ outcome }) => outcome === "failed")).toHaveLength(2);
  });
});
