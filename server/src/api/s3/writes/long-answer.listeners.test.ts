import { CacheError } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { WriteAnswer } from "../../../origin/origin.js";
import { HttpFixture } from "../../../testing/http-fixture.js";

let fixture: HttpFixture;
/** Settle the write that runs. */
let answer: (answer: WriteAnswer) => void;
let fail: (error: Error) => void;

/** Writes whose bodies have arrived. */
let running: number;

beforeEach(async () => {
  fixture = await HttpFixture.open({ writes: true });
  running = 0;
  fixture.cache.writeAnswer = async ({ body }) => {
    if (!(body instanceof Uint8Array)) await body.whole(1 << 20);
    running++;
    return new Promise((resolve, reject) => {
      [answer, fail] = [resolve, reject];
    });
  };
});

afterEach(() => fixture[Symbol.asyncDispose]());

const RESULT = '<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUploadResult/>';

/** Sends a request whose answer is awaited later. Resolves when the write runs. */
async function begin(method: string, path: string, headers: Record<string, string> = {}, body?: string) {
  const response = fetch(`http://127.0.0.1:${fixture.listener.address.port}/s3/bucket/${path}`, {
    method,
    headers,
    ...(body !== undefined && { body }),
  });
  await eventually(() => expect(running).toBe(1));
  return { response };
}

const COMPLETE: Parameters<typeof begin> = ["POST", "key?uploadId=a", {}, "<CompleteMultipartUpload/>"];
const COPY: Parameters<typeof begin> = ["PUT", "key", { "x-amz-copy-source": "bucket/source" }];

/** Lets time pass until the client has received the head. */
async function received(response: Promise<Response>): Promise<Response> {
  let head: Response | undefined;
  response.then(
    (found) => {
      head = found;
    },
    () => {},
  );
  await eventually(() => {
    fixture.clock.advance(10_000);
    expect(head).toBeDefined();
  });
  return head!;
}

describe("an operation for which the object store needs minutes", () => {
  it.each([
    ["a Complete", COMPLETE],
    ["a copy", COPY],
  ])("%s is answered with status 200 and white space until its document is there", async (_, request) => {
    const { response } = await begin(...request);
    const { status, headers, body } = await received(response);
    expect([status, headers.get("content-type"), headers.has("x-amz-request-id")]).toEqual([200, "application/xml", true]);
    let text = "";
    const reading = (async () => {
      for await (const piece of body!) text += Buffer.from(piece).toString();
    })();
    await eventually(() => {
      fixture.clock.advance(10_000);
      expect(text).toMatch(/^<\?xml version="1.0" encoding="UTF-8"\?>\n {2,}$/);
    });
    answer({ status: 200, headers: [["content-type", "application/xml"]], body: Buffer.from(RESULT) });
    await reading;
    expect(text).toMatch(/^<\?xml version="1.0" encoding="UTF-8"\?>\n +<CompleteMultipartUploadResult\/>$/);
    await eventually(() => expect(fixture.left().timers).toBe(0));
  });

  it.each<[string, () => void, string]>([
    [
      "a refusal of the store",
      () => answer({ status: 412, headers: [], body: Buffer.from("<Error><Code>PreconditionFailed</Code></Error>") }),
      "PreconditionFailed",
    ],
    ["a failure", () => fail(new CacheError("UNAVAILABLE", "the origin is gone")), "ServiceUnavailable"],
    ["an unknown outcome", () => fail(new CacheError("UNAVAILABLE", "perhaps", { s3Code: "InternalError" })), "InternalError"],
  ])("has %s in the document, behind status 200", async (_, end, code) => {
    const { response } = await begin(...COMPLETE);
    const head = await received(response);
    end();
    expect(head.status).toBe(200);
    expect(await head.text()).toMatch(new RegExp(`^<\\?xml[^>]*\\?>\\s*<Error><Code>${code}</Code>`));
  });

  it("has its own status if the document is there in time", async () => {
    const { response } = await begin(...COMPLETE);
    fixture.clock.advance(9_999);
    answer({ status: 412, headers: [["x-amz-version-id", "v"]], body: Buffer.from("<Error/>") });
    const { status, headers } = await response;
    expect([status, headers.get("x-amz-version-id"), headers.get("content-length")]).toEqual([412, "v", "8"]);
  });

  it("leaves no timer if the client disconnects", async () => {
    const client = await fixture.connect();
    client.send("PUT /s3/bucket/key HTTP/1.1\r\nHost: x\r\nx-amz-copy-source: bucket/source\r\nContent-Length: 0\r\n\r\n");
    await eventually(() => expect(running).toBe(1));
    await client[Symbol.asyncDispose]();
    await eventually(() => expect(fixture.left().timers).toBe(0));
    answer({ status: 200, headers: [], body: Buffer.from(RESULT) });
    await eventually(() => expect(fixture.left().running).toBe(0));
  });
});
