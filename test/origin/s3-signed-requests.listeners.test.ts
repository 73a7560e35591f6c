import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseObjectUrl, parsePrefixUrl } from "@frontcache/proto";
import {
  ANONYMOUS,
  bytesOf,
  clientPrincipal,
  originAccesses,
  pageOf,
  parseIdentities,
  passOf,
  rangeOf,
  type S3Options,
  type S3Origin,
  statOf,
} from "@frontcache/server/testing";
import { Hash } from "@smithy/core/serde";
import { SignatureV4 } from "@smithy/signature-v4";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { oddKeys } from "./contract/odd-keys.js";
import { openS3 } from "./open-s3.js";

const credentials = { accessKeyId: "AKIA/with/slashes", secretAccessKey: "secret", sessionToken: "token+/=" };

/** The Authorization header that the SDK's signer makes for a received request, of the headers that the request says are signed. */
async function expectedAuthorization({ method = "", url = "", headers }: IncomingMessage): Promise<string | undefined> {
  const [, region = "", signedNames = ""] =
    /\/\d{8}\/([^/]+)\/s3\/aws4_request, SignedHeaders=([^,]+)/.exec(headers.authorization ?? "") ?? [];
  const [path = "", query = ""] = url.split(/\?(.*)/s);
  const signed = Object.fromEntries(signedNames.split(";").map((name) => [name, String(headers[name])]));
  const { "x-amz-date": date = "", "x-amz-security-token": _, ...others } = signed;
  const iso = date.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z");
  const sha256 = Hash.bind(null, "sha256") as never;
  const signer = new SignatureV4({ credentials, region, service: "s3", sha256, uriEscapePath: false });
  const request = { method, protocol: "http:", hostname: "x", path, headers: others };
  const parameters = Object.fromEntries(new URLSearchParams(query.replaceAll("+", "%2B")));
  const expected = await signer.sign({ ...request, query: parameters }, { signingDate: new Date(iso) });
  return expected.headers.authorization;
}

describe("a request that this member signs", () => {
  let server: Server;
  let endpoint: string;
  let seen: { method: string; url: string; headers: IncomingMessage["headers"] }[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  const opened: S3Origin[] = [];

  const open = (options: Partial<S3Options> = {}): S3Origin => {
    const origin = openS3(endpoint, { credentials, ...options });
    opened.push(origin);
    return origin;
  };

  beforeEach(async () => {
    seen = [];
    answer = (request, response) => {
      const head = { etag: '"v"', "content-length": "3" };
      if (request.method === "HEAD") response.writeHead(200, head).end();
      else if (request.headers.range === undefined) response.writeHead(200, head).end("abc");
      else response.writeHead(206, { ...head, "content-range": "bytes 0-2/3" }).end("abc");
    };
    server = createServer(async (request, response) => {
      const { method = "", url = "", headers } = request;
      seen.push({ method, url, headers });
      if (headers.authorization === undefined || headers.authorization !== (await expectedAuthorization(request))) {
        const xml = "<Error><Code>SignatureDoesNotMatch</Code></Error>";
        response.writeHead(403, { "content-length": xml.length }).end(xml);
        return;
      }
      answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterEach(async () => {
    for (const origin of opened.splice(0)) origin.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  it("has a signature that the SDK's signer confirms, for any key", async () => {
    const origin = open();
    for (const key of oddKeys) {
      seen = [];
      const ref = parseObjectUrl(`s3://bucket/${key}`);
      expect(await origin.ask(statOf(ref))).toMatchObject({ version: "v", objectSize: 3 });
      for (const version of [undefined, "v"]) {
        expect((await bytesOf(await origin.fetch(rangeOf(ref, { offset: 0, length: 3, version })))).toString()).toBe("abc");
      }
      expect(new Set(seen.map(({ url }) => decodeURIComponent(url)))).toEqual(new Set([`/bucket/${key}`]));
      expect(seen.map(({ method }) => method)).toEqual(["HEAD", "GET", "GET"]);
    }
  });

  it("has only headers that the store needs", async () => {
    const ref = parseObjectUrl("s3://bucket/key?versionId=old");
    const origin = open({ requesterPays: true, region: "eu-west-3" });
    await origin.ask(statOf(ref));
    await bytesOf(await origin.fetch(rangeOf(ref, { offset: 0, length: 3, version: "v" })));
    const signature = [
      "authorization",
      "host",
      "x-amz-content-sha256",
      "x-amz-date",
      "x-amz-request-payer",
      "x-amz-security-token",
    ];
    const sent = seen.map(({ headers }) =>
      Object.keys(headers)
        .filter((name) => name !== "connection")
        .sort(),
    );
    expect(sent).toEqual([[...signature, "x-amz-checksum-mode"].sort(), [...signature, "if-match", "range"].sort()]);
    expect(seen.map(({ url }) => url)).toEqual(["/bucket/key?versionId=old", "/bucket/key?versionId=old"]);
    expect(seen[0]!.headers.authorization).toContain("/eu-west-3/s3/");
  });

  it("has no signature if credentials are anonymous", async () => {
    await expect(open({ credentials: "anonymous" }).ask(statOf(parseObjectUrl("s3://bucket/key")))).rejects.toThrow();
    for (const { headers } of seen) expect(Object.keys(headers).sort()).not.toContain("authorization");
  });

  it("is signed with the credentials of the principal, if the principal has any for the bucket", async () => {
    const identities = parseIdentities(`
identities:
  - name: ada
    origin: { buckets: ["s3://lake-*"], accessKeyId: AKIA/with/slashes, secretAccessKey: secret, sessionToken: "token+/=" }
  - { name: anonymous, origin: unsigned }
grants: []`);
    const wrong = { accessKeyId: "AKIAMEMBER", secretAccessKey: "another" };
    for (const shared of [wrong, "anonymous"] as const) {
      const origin = open({ credentials: shared, accesses: originAccesses(() => identities.originAccess) });
      const [lake, sea] = [parseObjectUrl("s3://lake-1/key"), parseObjectUrl("s3://sea/key")];
      const ada = clientPrincipal("ada", "signature");
      const range = { offset: 0, length: 3 };
      const signers = async (request: () => Promise<unknown>): Promise<(string | undefined)[]> => {
        seen = [];
        await request().catch(() => {});
        const ids = seen.map(({ headers }) => /Credential=(.+)\/\d{8}\//.exec(headers.authorization ?? "")?.[1]);
        return [...new Set(ids)];
      };
      expect(await signers(() => origin.fetch({ ...rangeOf(lake, range), principal: ada }))).toEqual(["AKIA/with/slashes"]);
      expect(await signers(() => origin.ask({ ...statOf(lake), principal: ada }))).toEqual(["AKIA/with/slashes"]);
      expect(await signers(() => origin.ask({ ...passOf(lake), principal: ada }))).toEqual(["AKIA/with/slashes"]);
      const page = { ...pageOf(parsePrefixUrl("s3://lake-1/")), principal: ada };
      expect(await signers(() => origin.ask(page))).toEqual(["AKIA/with/slashes"]);
      const own = shared === "anonymous" ? undefined : "AKIAMEMBER";
      expect(await signers(() => origin.ask({ ...statOf(sea), principal: ada }))).toEqual([own]);
      expect(await signers(() => origin.ask(statOf(lake)))).toEqual([own]);
      expect(await signers(() => origin.ask({ ...statOf(lake), principal: ANONYMOUS }))).toEqual([undefined]);
      expect(await signers(() => origin.ask({ ...page, principal: ANONYMOUS }))).toEqual([undefined]);
    }
  });

  it("is sent below the path of the endpoint", async () => {
    endpoint += "/prefix";
    await open().ask(statOf(parseObjectUrl("s3://bucket/a//b")));
    expect(seen.map(({ url }) => url)).toEqual(["/prefix/bucket/a//b"]);
  });

  it("is sent once more, signed by the store's clock, if the store rejects its time; later requests are signed by that clock", async () => {
    const storeMs = Date.now() + 3 * 3_600_000;
    const plain = answer;
    answer = (request, response) => {
      const signedAt = String(request.headers["x-amz-date"]).replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z");
      if (Math.abs(Date.parse(signedAt) - storeMs) < 900_000) return plain(request, response);
      const xml = request.method === "HEAD" ? "" : "<Error><Code>RequestTimeTooSkewed</Code></Error>";
      response.writeHead(403, { date: new Date(storeMs).toUTCString(), "content-length": xml.length }).end(xml);
    };
    const origin = open();
    const ref = parseObjectUrl("s3://bucket/key");
    await bytesOf(await origin.fetch(rangeOf(ref, { offset: 0, length: 3 })));
    await origin.ask(statOf(ref));
    expect(seen.map(({ method }) => method)).toEqual(["GET", "GET", "HEAD"]);
  });

  it("is confirmed if it is passed on with a query and headers", async () => {
    const origin = open({ requesterPays: true });
    const query = [
      ["list-type", "2"],
      ["prefix", "a b/+é"],
      ["acl", ""],
      ["X-Amz-Signature", "of the client"],
      ["Expires", "1"],
    ] as const;
    const headers = [
      ["x-amz-expected-bucket-owner", "123"],
      ["authorization", "AWS4 of the client"],
      ["x-amz-date", "20000101T000000Z"],
      ["if-none-match", '"x"'],
      ["accept", "*/*"],
      ["x-amz-request-payer", "requester"],
      ["x-amz-object-attributes", "ETag"],
      ["x-amz-object-attributes", "ObjectSize"],
    ] as const;
    const passed = await origin.ask(passOf(parsePrefixUrl("s3://bucket"), { query, headers }));
    expect(passed.status).toBe(200);
    passed.body.destroy();
    expect(seen[0]!.url).toBe("/bucket/?acl=&list-type=2&prefix=a%20b%2F%2B%C3%A9");
    expect(seen[0]!.headers["x-amz-object-attributes"]).toBe("ETag,ObjectSize");
    expect(seen[0]!.headers["x-amz-request-payer"]).toBe("requester");
    expect(seen[0]!.headers.authorization).not.toContain("accept");
    expect(seen[0]!.headers).toMatchObject({ "x-amz-expected-bucket-owner": "123", "if-none-match": '"x"', accept: "*/*" });
    const service = await origin.ask(passOf({ url: "s3://", scheme: "s3", bucket: "" }));
    service.body.destroy();
    expect([service.status, seen[1]!.url]).toEqual([200, "/"]);
  });
});
