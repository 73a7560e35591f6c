import { createHash } from "node:crypto";
import { ManualClock } from "@frontcache/server/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WritesUnderTest } from "./writes-under-test.js";

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const TOKENS = { ada: "a-token-of-ada-0123456789", bob: "a-token-of-bob-0123456789", root: "a-token-of-root-0123456789" };
type Caller = keyof typeof TOKENS | "anonymous";

const FILE = `
identities:
  - { name: ada, tokens: ${sha256(TOKENS.ada)} }
  - { name: bob, tokens: ${sha256(TOKENS.bob)} }
  - { name: root, tokens: ${sha256(TOKENS.root)} }
grants:
  - { to: ada, operations: [read, write], buckets: gs://bucket, prefixes: mine/ }
  - { to: ada, operations: delete, buckets: gs://bucket, prefixes: mine/old/ }
  - { to: [ada, bob], operations: read, buckets: gs://bucket, prefixes: shared/ }
  - { to: bob, operations: [write, delete], buckets: gs://bucket, prefixes: mine/ }
  - { to: root, operations: [read, write, delete, admin], buckets: gs://bucket }
  - { to: anonymous, operations: write, buckets: gs://bucket, prefixes: inbox/ }
`;

let under: WritesUnderTest;

beforeAll(async () => {
  const location = "https://storage.googleapis.com/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id=its-id";
  under = await WritesUnderTest.open({
    identities: FILE,
    membersKey: "a-key-of-all-members-0123456789-abcdef",
    listenerClock: new ManualClock(),
    answer: ({ query }) => {
      const begins = query.some(([name, value]) => name === "uploadType" && value === "resumable");
      return { headers: begins ? [["location", location]] : [], body: Buffer.from("{}") };
    },
  });
});

afterAll(() => under[Symbol.asyncDispose]());
beforeEach(() => under.forget());

interface Sent {
  readonly headers?: Record<string, string>;
  readonly body?: string | undefined;
}

async function send(caller: Caller, method: string, path: string, { headers = {}, body }: Sent = {}) {
  const url = path.startsWith("http") ? path : `http://127.0.0.1:${under.listeners.httpPort}${path}`;
  const credentials = caller === "anonymous" ? undefined : { authorization: `Bearer ${TOKENS[caller]}` };
  // A kept connection could be ended by the clock of the under.listeners.
  const all = { ...headers, ...credentials, connection: "close" };
  const response = await fetch(url, { method, headers: all, ...(body !== undefined && { body }) });
  return { status: response.status, location: response.headers.get("location") ?? "", text: await response.text() };
}

const O = "/storage/v1/b/bucket/o";
const UPLOAD = "/upload/storage/v1/b/bucket/o";
const RELATED = { "content-type": "multipart/related; boundary=b" };
const named = (name: string): string => encodeURIComponent(name);
const related = (metadata: string): string =>
  `--b\r\nContent-Type: application/json\r\n\r\n${metadata}\r\n--b\r\nContent-Type: text/plain\r\n\r\ncontent\r\n--b--`;
const composed = (names: readonly string[], more: object = {}): string =>
  JSON.stringify({ sourceObjects: names.map((name) => ({ name })), ...more });

/** What a caller asks for, whether it may, and the operation by which it is denied. */
type Row = [caller: Caller, method: string, path: string, sent: Sent, outcome: "allowed" | "read" | "write" | "delete" | "admin"];

const media = (name: string, more = ""): string => `${UPLOAD}?uploadType=media&name=${named(name)}${more}`;
const multipart = `${UPLOAD}?uploadType=multipart`;
const resumable = (name: string, more = ""): string => `${UPLOAD}?uploadType=resumable&name=${named(name)}${more}`;
const object = (name: string): string => `${O}/${named(name)}`;
const copy = (kind: "copyTo" | "rewriteTo", from: string, to: string, bucket = "bucket"): string =>
  `/storage/v1/b/${bucket}/o/${named(from)}/${kind}/b/bucket/o/${named(to)}`;
const move = (from: string, to: string): string => `${object(from)}/moveTo/o/${named(to)}`;
const compose = (to: string): string => `${object(to)}/compose`;
const TEXT = { body: "content" };
const ACL = { body: JSON.stringify({ name: "mine/k", acl: [{ entity: "allUsers", role: "READER" }] }) };
const HOLD = { body: JSON.stringify({ temporaryHold: false }) };

const uploads: Row[] = [
  ["ada", "POST", media("mine/k"), TEXT, "allowed"],
  ["ada", "POST", media("other/k"), TEXT, "write"],
  ["ada", "POST", media("shared/k"), TEXT, "write"],
  ["ada", "POST", media("mine"), TEXT, "write"],
  ["anonymous", "POST", media("inbox/k"), TEXT, "allowed"],
  ["anonymous", "POST", media("mine/k"), TEXT, "write"],
  ["ada", "POST", media("mine/k", "&predefinedAcl=publicRead"), TEXT, "admin"],
  ["root", "POST", media("mine/k", "&predefinedAcl=publicRead"), TEXT, "allowed"],
  ["ada", "POST", multipart, { headers: RELATED, body: related('{"name":"mine/k"}') }, "allowed"],
  ["ada", "POST", multipart, { headers: RELATED, body: related('{"name":"other/k"}') }, "write"],
  ["ada", "POST", multipart, { headers: RELATED, body: related('{"name":"mine/k","name":"other/k"}') }, "write"],
  ["ada", "POST", multipart, { headers: RELATED, body: related('{"name":"mine/k","acl":[]}') }, "admin"],
  ["ada", "POST", multipart, { headers: RELATED, body: related('{"name":"mine/k","temporary_hold":true}') }, "admin"],
  ["ada", "POST", `${multipart}&name=other%2Fk`, { headers: RELATED, body: related('{"name":"mine/k"}') }, "write"],
  ["ada", "POST", resumable("mine/k"), {}, "allowed"],
  ["ada", "POST", resumable("other/k"), {}, "write"],
  ["ada", "POST", `${UPLOAD}?uploadType=resumable`, { body: '{"name":"other/k"}' }, "write"],
  ["ada", "POST", resumable("mine/k"), ACL, "admin"],
  ["ada", "POST", resumable("mine/k", "&predefinedAcl=publicRead"), {}, "admin"],
  ["root", "POST", resumable("mine/k"), ACL, "allowed"],
];

const changes: Row[] = [
  ["ada", "DELETE", object("mine/old/k"), {}, "allowed"],
  ["ada", "DELETE", object("mine/k"), {}, "delete"],
  ["ada", "DELETE", `${object("mine/k")}?generation=7`, {}, "delete"],
  ["anonymous", "DELETE", object("inbox/k"), {}, "delete"],
  ["ada", "PATCH", object("mine/k"), { body: '{"contentType":"text/x","metadata":{"a":"b"}}' }, "allowed"],
  ["ada", "PATCH", object("shared/k"), { body: '{"contentType":"text/x"}' }, "write"],
  ["ada", "PATCH", object("mine/k"), ACL, "admin"],
  ["ada", "PATCH", object("mine/k"), HOLD, "admin"],
  ["ada", "PATCH", object("mine/k"), { body: '{"retention":null}' }, "admin"],
  ["ada", "PATCH", `${object("mine/k")}?overrideUnlockedRetention=true`, { body: "{}" }, "admin"],
  ["root", "PATCH", object("mine/k"), HOLD, "allowed"],
  ["ada", "PUT", object("mine/k"), { body: '{"contentType":"text/x"}' }, "admin"],
  ["root", "PUT", object("mine/k"), { body: '{"contentType":"text/x"}' }, "allowed"],
  ["bob", "PUT", object("shared/k"), { body: "{}" }, "write"],
];

const copies: Row[] = [
  ...(["copyTo", "rewriteTo"] as const).flatMap((kind): Row[] => [
    ["ada", "POST", copy(kind, "shared/k", "mine/k"), {}, "allowed"],
    ["ada", "POST", copy(kind, "other/k", "mine/k"), {}, "read"],
    ["ada", "POST", copy(kind, "shared/k", "mine/k", "elsewhere"), {}, "read"],
    ["ada", "POST", copy(kind, "mine/k", "shared/k"), {}, "write"],
    ["bob", "POST", copy(kind, "mine/k", "mine/l"), {}, "read"],
    ["ada", "POST", copy(kind, "shared/k", "mine/k"), ACL, "admin"],
    ["ada", "POST", `${copy(kind, "shared/k", "mine/k")}?destinationPredefinedAcl=publicRead`, {}, "admin"],
    ["anonymous", "POST", copy(kind, "shared/k", "inbox/k"), {}, "read"],
  ]),
  ["ada", "POST", move("mine/old/k", "mine/k"), {}, "allowed"],
  ["ada", "POST", move("mine/k", "mine/l"), {}, "delete"],
  ["ada", "POST", move("mine/old/k", "other/k"), {}, "write"],
  ["bob", "POST", move("mine/k", "mine/l"), {}, "read"],
  ["ada", "POST", move("shared/k", "mine/k"), {}, "delete"],
  ["ada", "POST", compose("mine/k"), { body: composed(["mine/a", "shared/b"]) }, "allowed"],
  ["ada", "POST", compose("mine/k"), { body: composed(["mine/a", "other/b"]) }, "read"],
  ["ada", "POST", compose("mine/k"), { body: composed(["other/a", "mine/b"]) }, "read"],
  ["ada", "POST", compose("shared/k"), { body: composed(["mine/a"]) }, "write"],
  ["ada", "POST", compose("mine/k"), { body: composed(["mine/a"], { destination: { acl: [] } }) }, "admin"],
  ["ada", "POST", `${compose("mine/k")}?destinationPredefinedAcl=publicRead`, { body: composed(["mine/a"]) }, "admin"],
  ["ada", "POST", compose("mine/k"), { body: composed(["mine/a"], { deleteSourceObjects: true }) }, "delete"],
  ["ada", "POST", compose("mine/k"), { body: composed(["mine/old/a"], { deleteSourceObjects: true }) }, "allowed"],
  ["ada", "POST", compose("mine/k"), { body: composed(["mine/a"], { deleteSourceObjects: "true" }) }, "delete"],
];

const GS = "/gs/bucket";
const byS3: Row[] = [
  ["ada", "PUT", `${GS}/mine/k`, TEXT, "allowed"],
  ["ada", "PUT", `${GS}/other/k`, TEXT, "write"],
  ["ada", "PUT", `${GS}/mine/k`, { headers: { "x-goog-meta-author": "ada" } }, "allowed"],
  ["ada", "PUT", `${GS}/mine/k`, { headers: { "x-goog-acl": "public-read" } }, "admin"],
  ["ada", "PUT", `${GS}/mine/k`, { headers: { "x-goog-grant-read": "allUsers" } }, "admin"],
  ["ada", "PUT", `${GS}/mine/k`, { headers: { "x-amz-acl": "public-read" } }, "admin"],
  ["ada", "PUT", `${GS}/mine/k`, { headers: { "x-goog-unheard-of": "a" } }, "admin"],
  ["root", "PUT", `${GS}/mine/k`, { headers: { "x-goog-acl": "public-read" } }, "allowed"],
  ["ada", "PUT", `${GS}/mine/k`, { headers: { "x-amz-copy-source": "bucket/shared/k" } }, "allowed"],
  ["ada", "PUT", `${GS}/mine/k`, { headers: { "x-amz-copy-source": "/bucket/other%2Fk" } }, "read"],
  ["ada", "PUT", `${GS}/mine/k`, { headers: { "x-amz-copy-source": "elsewhere/shared/k" } }, "read"],
  ["ada", "POST", `${GS}/mine/k?uploads`, {}, "allowed"],
  ["ada", "POST", `${GS}/other/k?uploads`, {}, "write"],
  ["ada", "PUT", `${GS}/other/k?uploadId=a&partNumber=1`, TEXT, "write"],
  ["ada", "POST", `${GS}/other/k?uploadId=a`, { body: "<CompleteMultipartUpload></CompleteMultipartUpload>" }, "write"],
  ["ada", "DELETE", `${GS}/other/k?uploadId=a`, {}, "write"],
  ["ada", "DELETE", `${GS}/mine/old/k`, {}, "allowed"],
  ["ada", "DELETE", `${GS}/mine/k?versionId=7`, {}, "delete"],
  ["anonymous", "PUT", `${GS}/inbox/k`, TEXT, "allowed"],
  ["anonymous", "PUT", `${GS}/mine/k`, TEXT, "write"],
];

describe("a write to a bucket of GCS", () => {
  it.each([...uploads, ...changes, ...copies, ...byS3])(
    "of %s by %s %s with %j is decided by its grants: %s",
    async (caller, method, path, sent, outcome) => {
      const { status, text } = await send(caller, method, path, sent);
      expect([status, under.written.length]).toEqual(outcome === "allowed" ? [200, 1] : [status, 0]);
      if (outcome === "allowed") {
        const operations = new Set(under.written[0]!.grants.map(({ operation }) => operation));
        operations.delete("read");
        expect(under.audited.every((line) => line.outcome === "allowed" && line.principal === caller)).toBe(true);
        expect(new Set(under.audited.map(({ operation }) => operation))).toEqual(operations);
        return;
      }
      expect(status).toBe(caller === "anonymous" && !path.startsWith(GS) ? 401 : 403);
      if (path.startsWith(GS)) expect(text).toContain("<Code>AccessDenied</Code>");
      else
        expect(JSON.parse(text).error).toMatchObject({
          code: status,
          errors: [{ reason: status === 401 ? "required" : "forbidden" }],
        });
      expect(under.audited).toMatchObject([{ event: "audit", outcome: "denied", principal: caller, operation: outcome }]);
    },
  );

  it.each<[string, string, string, Sent]>([
    ["single quotes, which only lenient readers take", "PATCH", object("mine/k"), { body: "{'acl':[]}" }],
    ["a list", "PATCH", object("mine/k"), { body: "[]" }],
    ["metadata that end early", "POST", multipart, { headers: RELATED, body: related('{"name":"mine/k"') }],
    ["a number that is not exact", "PATCH", object("mine/k"), { body: '{"metadata":{"a":12345678901234567890}}' }],
    ["too many levels", "PATCH", object("mine/k"), { body: `{"metadata":${"[".repeat(50_000)}${"]".repeat(50_000)}}` }],
    ["another spelling of a field", "POST", compose("mine/k"), { body: composed(["mine/a"], { source_objects: [] }) }],
    ["a source without a name", "POST", compose("mine/k"), { body: '{"sourceObjects":[{}]}' }],
    ["a source that is a text", "POST", compose("mine/k"), { body: '{"sourceObjects":["mine/a"]}' }],
    ["33 sources", "POST", compose("mine/k"), { body: composed(Array<string>(33).fill("mine/a")) }],
    ["no sources", "POST", compose("mine/k"), { body: "{}" }],
    ["another method in a header", "POST", media("mine/k"), { headers: { "x-http-method-override": "DELETE" } }],
    ["an unknown header", "POST", media("mine/k"), { headers: { "x-goog-acl": "public-read" } }],
  ])("with %s is refused, and leaves one line in the audit log", async (_, method, path, sent) => {
    const { status, text } = await send("ada", method, path, sent);
    expect([status, JSON.parse(text).error.code]).toEqual([400, 400]);
    expect(under.written).toEqual([]);
    expect(under.audited).toMatchObject([{ event: "audit", outcome: "failed", principal: "ada" }]);
    expect(under.audited).toHaveLength(1);
  });

  it.each([{ "x-goog-copy-source": "/bucket/other/k" }, { "x-goog-resumable": "start" }])(
    "with the header %j, which makes another operation of it, is refused even to those who may administer",
    async (headers) => {
      const { status, text } = await send("root", "PUT", `${GS}/mine/k`, { headers });
      expect([status, /<Code>(\w+)</.exec(text)?.[1]]).toEqual([501, "NotImplemented"]);
      expect(under.written).toEqual([]);
      expect(under.audited).toMatchObject([{ outcome: "failed", principal: "root" }]);
      expect(under.audited).toHaveLength(1);
    },
  );

  it("reaches GCS with the name and the document about which was decided", async () => {
    await send("ada", "POST", multipart, { headers: RELATED, body: related('{"name":"other/k", "name":"mine/k"}') });
    const [write] = under.written;
    expect(write!.query).toContainEqual(["name", "mine/k"]);
    expect(write!.json).toMatchObject({ related: { document: Buffer.from('{"name":"mine/k"}') } });
  });
});

describe("the address of an upload session", () => {
  const part = { headers: { "content-range": "bytes 0-6/7" }, body: "content" };

  /** Begins a session; returns its address. */
  async function begin(caller: Caller, name = "mine/k"): Promise<string> {
    const { status, location } = await send(caller, "POST", resumable(name));
    expect(status).toBe(200);
    under.forget();
    return location;
  }

  it("takes parts, questions and the end of the session from who began it", async () => {
    const address = await begin("ada");
    const question = { headers: { "content-range": "bytes */*" } };
    for (const [method, sent] of [
      ["PUT", question],
      ["PUT", part],
      ["DELETE", {}],
    ] as const)
      expect((await send("ada", method, address, sent)).status).toBe(200);
    expect(under.written.map(({ ref }) => ref.url)).toEqual(Array(3).fill("gs://bucket/mine/k"));
    for (const { query } of under.written) expect(String(query)).not.toContain("signature");
    expect(under.audited.every(({ outcome, principal }) => outcome === "allowed" && principal === "ada")).toBe(true);
  });

  it("of another object leads to no object that its caller may write", async () => {
    // The session of an object that only root may write, under the name of one that ada may write.
    const stolen = (await begin("root", "other/k")).replace(named("other/k"), named("mine/k"));
    for (const method of ["PUT", "DELETE"]) {
      under.audited.length = 0;
      const { status, text } = await send("ada", method, stolen, method === "PUT" ? part : {});
      expect([status, JSON.parse(text).error.errors[0].reason]).toEqual([403, "forbidden"]);
      expect(under.audited).toMatchObject([{ outcome: "denied", principal: "ada", operation: "write" }]);
      expect(under.audited).toHaveLength(1);
    }
    expect(under.written).toEqual([]);
  });

  it.each<[string, Caller, (address: string) => string, number]>([
    ["another principal, which may write the object", "bob", (address) => address, 403],
    ["another principal, which may not", "anonymous", (address) => address, 401],
    ["another object of who began it", "ada", (address) => address.replace("%2Fk&", "%2Fl&"), 403],
    ["another bucket", "ada", (address) => address.replace("/b/bucket/", "/b/elsewhere/"), 403],
    ["another session", "ada", (address) => address.replace("its-id", "other-id"), 403],
    ["no signature", "ada", (address) => address.replace(/&frontcache-signature=[^&]*/, ""), 404],
    ["a signature by another key", "ada", (address) => address.replace(/(signature=)./, "$1_"), 404],
  ])("is refused with %s", async (_, caller, changed, status) => {
    const address = changed(await begin("ada"));
    expect((await send(caller, "PUT", address, part)).status).toBe(status);
    expect(under.written).toEqual([]);
    expect(under.audited).toHaveLength(1);
    expect(under.audited).toMatchObject([{ principal: caller, outcome: status === 404 ? "failed" : "denied" }]);
  });
});
