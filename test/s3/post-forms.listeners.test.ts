import { createHash } from "node:crypto";
import { rampBytes } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { S3Emulator } from "../emulators/s3.js";
import { HttpStack } from "./http-stack.js";
import { sendRequest } from "./send-request.js";

let origin: S3Emulator;
let stack: HttpStack;

beforeAll(async () => {
  origin = await S3Emulator.start();
  stack = await HttpStack.open(origin.endpoint, { revalidateAfterMs: 60_000, writes: true });
  origin.put("bucket", "existing", "before");
});

afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  await origin.close();
});

/** The variable that stands for the name of the file. */
const FILE_NAME = `$${"{filename}"}`;

type Fields = Readonly<Record<string, string>>;

/** Posts a form as browsers do. */
async function post(fields: Fields, file: string | Buffer | undefined, name = "photo.jpg", path = "/bucket") {
  const form = new FormData();
  for (const [field, value] of Object.entries(fields)) form.append(field, value);
  if (file !== undefined) form.append("file", new Blob([file]), name);
  const response = await fetch(`${stack.endpoint}${path}`, { method: "POST", body: form, redirect: "manual" });
  const body = await response.text();
  return { status: response.status, headers: response.headers, body, code: /<Code>(\w+)<\/Code>/.exec(body)?.[1] };
}

async function read(key: string): Promise<string> {
  const response = await fetch(`${stack.endpoint}/bucket/${key}`);
  return response.status === 200 ? Buffer.from(await response.arrayBuffer()).toString("latin1") : `status ${response.status}`;
}

describe("a form that uploads a file", () => {
  it("is written with its metadata, and read back at once", async () => {
    expect(await read("user/photo.jpg")).toBe("status 404");
    const fields = {
      key: `user/${FILE_NAME}`,
      "Content-Type": "image/jpeg",
      "Cache-Control": "no-cache",
      "x-amz-meta-name": "\u00fc",
      "x-ignore-this": "x",
      "x-amz-checksum-sha256": createHash("sha256").update("hello").digest("base64"),
      tagging: "<Tagging><TagSet><Tag><Key>a &amp; b</Key><Value>1</Value></Tag></TagSet></Tagging>",
    };
    const { status, headers, body } = await post(fields, "hello", "C:\\photos\\photo.jpg");
    expect([status, body, headers.get("location")]).toEqual([204, "", `${stack.endpoint}/bucket/user/photo.jpg`]);
    expect(headers.get("etag")).toBe(`"${createHash("md5").update("hello").digest("hex")}"`);
    expect(await read("user/photo.jpg")).toBe("hello");
    expect(origin.objects.get("bucket", "user/photo.jpg")).toMatchObject({
      contentType: "image/jpeg",
      headers: { "cache-control": "no-cache", "x-amz-meta-name": Buffer.from("\u00fc").toString("latin1") },
    });
  });

  it("replaces what is cached, and is streamed if it is large", async () => {
    const file = rampBytes(0, 3 * 2 ** 20 + 17, 5);
    expect(await read("existing")).toBe("before");
    expect((await post({ key: "existing" }, file)).status).toBe(204);
    expect(await read("existing")).toBe(file.toString("latin1"));
    expect((await post({ key: "existing" }, "")).status).toBe(204);
    expect(await read("existing")).toBe("");
  });

  it("is answered as its fields ask", async () => {
    const etag = createHash("md5").update("a").digest("hex");
    expect((await post({ key: "k", success_action_status: "200" }, "a")).status).toBe(200);
    expect((await post({ key: "k", success_action_status: "404" }, "a")).status).toBe(204);
    const created = await post({ key: "k<&", success_action_status: "201" }, "a");
    expect(created.status).toBe(201);
    expect(created.body).toContain(
      `<Location>${stack.endpoint}/bucket/k%3C%26</Location><Bucket>bucket</Bucket><Key>k&#60;&#38;</Key><ETag>&#34;${etag}&#34;</ETag>`,
    );
    const redirected = await post({ key: "a b", success_action_redirect: "https://example.com/done?x=1#top" }, "a");
    expect([redirected.status, redirected.headers.get("location")]).toEqual([
      303,
      `https://example.com/done?x=1&bucket=bucket&key=a%20b&etag=%22${etag}%22`,
    ]);
    for (const page of ["javascript:alert(1)", "/relative", "ftp://example.com"]) {
      expect((await post({ key: "k", redirect: page }, "a")).status).toBe(204);
    }
  });

  it.each<[string, Fields, string | undefined, string]>([
    ["no key", {}, "a", "InvalidArgument"],
    ["an empty key", { key: "" }, "a", "InvalidArgument"],
    ["a key that is too long", { key: "k".repeat(1_025) }, "a", "KeyTooLongError"],
    ["no file", { key: "bad" }, undefined, "IncorrectNumberOfFilesInPostRequest"],
    ["a wrong checksum", { key: "bad", "x-amz-checksum-crc32": "AAAAAA==" }, "a", "BadDigest"],
    ["a wrong MD5", { key: "bad", "content-md5": "AAAAAAAAAAAAAAAAAAAAAA==" }, "a", "BadDigest"],
    ["a header with two lines", { key: "bad", "Content-Type": "text/plain\r\nx-amz-acl: public-read" }, "a", "InvalidArgument"],
    ["a copy", { key: "bad", "x-amz-copy-source": "bucket/secret" }, "a", "InvalidArgument"],
    ["tags that are no XML", { key: "bad", tagging: "<Tagging>" }, "a", "MalformedXML"],
    [
      "too many tags",
      { key: "bad", tagging: `<Tagging><TagSet>${"<Tag><Key>a</Key><Value>b</Value></Tag>".repeat(11)}</TagSet></Tagging>` },
      "a",
      "MalformedXML",
    ],
    ["fields that are too long", { key: "bad", "x-amz-meta-a": "a".repeat(21_000) }, "a", "MaxPostPreDataLengthExceededError"],
    [
      "an expired policy",
      { key: "bad", AWSAccessKeyId: "a", signature: "s", policy: btoa('{"expiration":"2020-01-01T00:00:00Z","conditions":[]}') },
      "a",
      "AccessDenied",
    ],
    ["a signature without a policy", { key: "bad", AWSAccessKeyId: "a", signature: "s" }, "a", "InvalidArgument"],
  ])("is refused with %s, and nothing is written", async (_, fields, file, code) => {
    const puts = () => origin.traffic.requests.PUT;
    const before = puts();
    expect((await post(fields, file)).code).toBe(code);
    expect(puts()).toBe(before);
    expect(await read("bad")).toBe("status 404");
  });

  it("is refused as anything but a form, and at an object", async () => {
    const plain = await fetch(`${stack.endpoint}/bucket`, { method: "POST", body: "key=a" });
    expect([plain.status, /<Code>(\w+)<\/Code>/.exec(await plain.text())?.[1]]).toEqual([412, "PreconditionFailed"]);
    const atObject = await post({ key: "k" }, "a", "a", "/bucket/object");
    expect([atObject.status, atObject.code]).toEqual([405, "MethodNotAllowed"]);
  });

  it("that ends early, or lies about its length, writes nothing", async () => {
    const head =
      '--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nbad\r\n--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n';
    const file = "x".repeat(2 << 20);
    const send = async (body: string, length: number): Promise<string | undefined> => {
      const headers = { "content-type": "multipart/form-data; boundary=b", "content-length": String(length) };
      const { body: answer } = await sendRequest(`${stack.endpoint}/bucket`, "POST", headers, [body]);
      return /<Code>(\w+)<\/Code>/.exec(answer)?.[1];
    };
    const whole = `${head}${file}\r\n--b--\r\n`;
    expect(await send(whole.replace("--b--\r\n", "--c--\r\n"), whole.length)).toBe("MalformedPOSTRequest");
    const more = '--b\r\nContent-Disposition: form-data; name="submit"\r\n\r\nx\r\n--b--\r\n';
    expect(await send(`${head}${file}\r\n${more}`, whole.length - 7 + more.length)).toBe("MalformedPOSTRequest");
    expect(await read("bad")).toBe("status 404");
  });
});
