import dns from "node:dns";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseObjectUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import type { Origin } from "@frontcache/server";
import {
  bytesOf,
  type Retry,
  rangeOf,
  retrying as retryingBy,
  type S3Options,
  type S3Origin,
  statOf,
  systemClock,
} from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { SeenRequest } from "../emulators/faults.js";
import { S3Emulator } from "../emulators/s3.js";
import { openS3 } from "./open-s3.js";

const ref = parseObjectUrl("s3://bucket/key");
const files = ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_PROFILE"] as const;

let store: S3Emulator;
let seen: SeenRequest[];
let directory: string;
const opened: S3Origin[] = [];

beforeEach(async () => {
  store = await S3Emulator.start();
  store.put("bucket", "key", "content");
  seen = [];
  store.faults.place({ when: (request) => seen.push(request) === 0 });
  directory = mkdtempSync(join(tmpdir(), "frontcache-s3-"));
});

afterEach(async () => {
  for (const origin of opened.splice(0)) origin.close();
  vi.restoreAllMocks();
  for (const name of files) delete process.env[name];
  rmSync(directory, { recursive: true });
  await eventually(() => expect(store.openSockets).toBe(0));
  await store.close();
});

function open(options: Partial<S3Options> = {}): S3Origin {
  const origin = openS3(store.endpoint, options);
  opened.push(origin);
  return origin;
}

function retrying(origin: S3Origin, onRetry: (retry: Retry) => void = () => {}): Origin {
  const times = {
    attempts: 4,
    baseDelayMs: 1,
    maxDelayMs: 2,
    headTimeoutMs: 60_000,
    idleTimeoutMs: 60_000,
    withFallback: { attempts: 2, headTimeoutMs: 1_000 },
  };
  return retryingBy({ ...times, onRetry }, systemClock, Math.random)(origin);
}

const textOf = async (origin: Pick<S3Origin, "fetch">, of = ref): Promise<string> =>
  (await bytesOf(await origin.fetch(rangeOf(of, { offset: 0, length: 100 })))).toString();

const signedFor = ({ headers }: SeenRequest): string | undefined =>
  /Credential=[^/]+\/\d+\/([^/]+)\//.exec(headers.authorization ?? "")?.[1];

const signedBy = ({ headers }: SeenRequest): string | undefined => /Credential=([^/]+)\//.exec(headers.authorization ?? "")?.[1];

describe("virtual-host style", () => {
  /** Only some systems resolve names under localhost. */
  const resolveLocalhost = (): string[] => {
    const asked: string[] = [];
    const lookup = dns.lookup;
    vi.spyOn(dns, "lookup").mockImplementation(((name: string, ...rest: [never, never]) => {
      asked.push(name);
      return lookup(name.endsWith(".localhost") ? "127.0.0.1" : name, ...rest);
    }) as typeof dns.lookup);
    return asked;
  };

  it("is used without path style, for any key", async () => {
    const asked = resolveLocalhost();
    const origin = open({ endpoint: store.endpoint.replace("127.0.0.1", "localhost"), forcePathStyle: false });
    for (const key of ["key", "a//b", "a/../b", "with space", "100%", "über/日本", "what?x=1", "bucket/key", "/leading"]) {
      store.put("bucket", key, `content of ${key}`);
      expect(await textOf(origin, parseObjectUrl(`s3://bucket/${key}`))).toBe(`content of ${key}`);
      expect(await origin.ask(statOf(parseObjectUrl(`s3://bucket/${key}`)))).toMatchObject({ contentType: expect.anything() });
    }
    for (const { headers, bucket } of seen) expect([headers.host?.split(":")[0], bucket]).toEqual(["bucket.localhost", "bucket"]);
    expect(asked).toContain("bucket.localhost");
  });

  it("is not used for buckets whose names are not host names", async () => {
    resolveLocalhost();
    const origin = open({ endpoint: store.endpoint.replace("127.0.0.1", "localhost"), forcePathStyle: false });
    store.put("Old_Bucket", "key", "old");
    expect(await textOf(origin, parseObjectUrl("s3://Old_Bucket/key"))).toBe("old");
    expect(seen[0]!.headers.host).toMatch(/^localhost:/);
  });
});

describe("a bucket in another region", () => {
  const home = (region: string, status: number, code: string) => {
    store.faults.place({
      when: (request) => request.bucket === "bucket" && signedFor(request) !== region,
      error: { status, code, headers: { "x-amz-bucket-region": region } },
    });
  };

  it.each([
    [301, "PermanentRedirect"],
    [307, "TemporaryRedirect"],
    [400, "AuthorizationHeaderMalformed"],
  ])("is found by one redirect of status %i (%s); later requests are sent there at once", async (status, code) => {
    home("ap-south-1", status, code);
    store.put("other", "key", "elsewhere");
    const origin = open({ region: "eu-west-1" });
    expect(await textOf(origin)).toBe("content");
    expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 7 });
    expect(await textOf(origin, parseObjectUrl("s3://other/key"))).toBe("elsewhere");
    expect(seen.map(signedFor)).toEqual(["eu-west-1", "ap-south-1", "ap-south-1", "eu-west-1"]);
  });

  it("is found by a HEAD too, whose response has no body", async () => {
    home("ap-south-1", 301, "PermanentRedirect");
    expect(await open().ask(statOf(ref))).toMatchObject({ objectSize: 7 });
  });

  it("gets concurrent requests there, while other buckets stay in their region", async () => {
    home("ap-south-1", 301, "PermanentRedirect");
    store.put("other", "key", "elsewhere");
    const origin = open({ region: "eu-west-1" });
    const other = parseObjectUrl("s3://other/key");
    const texts = await Promise.all(Array.from({ length: 20 }, (_, at) => textOf(origin, at % 2 === 0 ? ref : other)));
    expect(new Set(texts)).toEqual(new Set(["content", "elsewhere"]));
    for (const request of seen) if (request.bucket === "other") expect(signedFor(request)).toBe("eu-west-1");
  });

  it("is UNAVAILABLE after one more request if redirects never lead to it", async () => {
    let round = 0;
    store.faults.place({
      error: { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "ap-south-1" } },
      when: () => round++ % 2 === 0,
    });
    store.faults.place({
      error: { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": "eu-north-1" } },
      when: () => round % 2 === 0,
    });
    const origin = open();
    await expect(textOf(origin)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(seen.length).toBe(2);
  });

  it("is not requested in an invalid region", async () => {
    for (const region of ["evil.example.com/", "a b", "x".repeat(100), ""]) {
      store.faults.clear();
      store.faults.place({ error: { status: 301, code: "PermanentRedirect", headers: { "x-amz-bucket-region": region } } });
      store.traffic.reset();
      await expect(textOf(open())).rejects.toMatchObject({ code: "UNAVAILABLE" });
      expect(store.traffic.requests).toEqual({ GET: 1 });
    }
  });
});

describe("a bucket at another endpoint", () => {
  let other: S3Emulator;

  beforeEach(async () => {
    other = await S3Emulator.start();
    other.put("bucket", "key", "moved");
  });

  afterEach(async () => {
    for (const origin of opened.splice(0)) origin.close();
    await other.close();
  });

  const redirect = (location: string) =>
    store.faults.place({
      when: ({ bucket }) => bucket === "bucket",
      error: { status: 307, code: "TemporaryRedirect", headers: { location } },
    });

  it("is followed once and remembered, if it is the same host", async () => {
    store.put("other", "key", "stays");
    redirect(`${other.endpoint}/bucket/key`);
    const origin = open();
    expect(await textOf(origin)).toBe("moved");
    expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 5 });
    expect(await textOf(origin, parseObjectUrl("s3://other/key"))).toBe("stays");
    expect(store.traffic.requests).toEqual({ GET: 2 });
    expect(other.traffic.requests).toEqual({ GET: 1, HEAD: 1 });
  });

  it.each(["http://localhost:1/bucket/key", "http://169.254.169.254/bucket/key", "ftp://127.0.0.1/", "/bucket/key", ""])(
    "is refused at once if it is %j, with what to configure",
    async (location) => {
      redirect(location);
      const failed = textOf(retrying(open()) as S3Origin);
      await expect(failed).rejects.toMatchObject({ code: "UNAVAILABLE", isOriginTried: true });
      await expect(failed).rejects.toThrow(/another endpoint: set `region` and `endpoint`.* in the origins file$/);
      expect(store.traffic.requests).toEqual({ GET: 1 });
    },
  );
});

describe("buckets of other accounts", () => {
  it("are read without a signature if they are public", async () => {
    store.faults.place({
      error: { status: 403, code: "InvalidAccessKeyId" },
      when: ({ headers }) => headers.authorization !== undefined,
    });
    expect(await textOf(open({ credentials: "anonymous" }))).toBe("content");
    await expect(textOf(open())).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("are read, by stat and fetch alike, if the member agrees to pay for requester-pays buckets", async () => {
    store.faults.place({
      error: { status: 403, code: "AccessDenied" },
      when: ({ headers }) => headers["x-amz-request-payer"] !== "requester",
    });
    await expect(textOf(open())).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const paying = open({ requesterPays: true });
    expect(await textOf(paying)).toBe("content");
    expect(await paying.ask(statOf(ref))).toMatchObject({ objectSize: 7 });
  });
});

describe("an old version of an object", () => {
  it("is read by its URL, with its own ETag", async () => {
    const first = store.putVersion("bucket", "key", "first");
    const second = store.putVersion("bucket", "key", "second");
    const origin = open();
    const at = (versionId: string) => parseObjectUrl(`s3://bucket/key?versionId=${versionId}`);
    expect([await textOf(origin, at(first.versionId)), await textOf(origin, at(second.versionId))]).toEqual(["first", "second"]);
    expect(await textOf(origin)).toBe("second");
    expect(await origin.ask(statOf(at(first.versionId)))).toMatchObject({ version: first.version, objectSize: 5 });
    const range = { offset: 0, length: 5, version: second.version };
    await expect(origin.fetch(rangeOf(at(first.versionId), range))).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    await expect(textOf(origin, at("never"))).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("a checksum of the whole object", () => {
  it("is not applied to a range of the object", async () => {
    store.faults.place({
      headers: { "x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha256": "AAAA-3", "x-amz-checksum-type": "FULL_OBJECT" },
    });
    const answer = await open().fetch(rangeOf(ref, { offset: 1, length: 3 }));
    expect((await bytesOf(answer)).toString()).toBe("ont");
  });
});

describe("throttling by SlowDown", () => {
  it("is overcome by retries", async () => {
    store.faults.place({ error: { status: 503, code: "SlowDown" }, times: 3 });
    const retries: Retry[] = [];
    expect(await textOf(retrying(open(), (retry) => retries.push(retry)))).toBe("content");
    expect(retries.map(({ error }) => error.code)).toEqual(["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"]);
  });
});

describe("the credentials of a profile", () => {
  const write = (key: string): void => {
    const path = join(directory, "credentials");
    writeFileSync(path, `[lake]\naws_access_key_id = ${key}\naws_secret_access_key = secret\naws_session_token = ${key}\n`);
    process.env.AWS_SHARED_CREDENTIALS_FILE = path;
    process.env.AWS_CONFIG_FILE = join(directory, "none");
  };
  const expire = (key: string, status = 400, code = "ExpiredToken") =>
    store.faults.place({ error: { status, code }, when: (request) => signedBy(request) === key });

  it("sign the requests", async () => {
    write("first");
    expect(await textOf(open({ credentials: { profile: "lake" } }))).toBe("content");
    expect(seen.map(signedBy)).toEqual(["first"]);
  });

  it("are read again after they expire, and no read fails", async () => {
    write("first");
    const origin = retrying(open({ credentials: { profile: "lake" } }));
    await textOf(origin);
    expire("first");
    write("second");
    expect(await textOf(origin)).toBe("content");
    expect(await origin.ask(statOf(ref))).toMatchObject({ objectSize: 7 });
    expect(seen.map(signedBy)).toEqual(["first", "first", "second", "second"]);
  });

  it("are read again after their key was deleted, even if only a HEAD fails", async () => {
    write("first");
    const origin = retrying(open({ credentials: { profile: "lake" } }));
    await textOf(origin);
    expire("first", 403, "InvalidAccessKeyId");
    write("second");
    expect(await textOf(origin)).toBe("content");
    const head = retrying(open({ credentials: { profile: "lake" } }));
    expire("second");
    await head.ask(statOf(ref)).catch(() => {});
    write("third");
    await eventually(async () => expect(await head.ask(statOf(ref))).toMatchObject({ objectSize: 7 }));
  });

  it("are UNAVAILABLE while they stay expired, and their source is not read for each request", async () => {
    write("first");
    expire("first");
    const origin = open({ credentials: { profile: "lake" } });
    for (let i = 0; i < 5; i++) await expect(textOf(origin)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(seen.length).toBe(5);
  });

  it("are UNAVAILABLE without a request if they do not exist", async () => {
    write("first");
    await expect(textOf(open({ credentials: { profile: "none" } }))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(seen).toEqual([]);
  });
});
