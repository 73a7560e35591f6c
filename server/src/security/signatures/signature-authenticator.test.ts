import { describe, expect, it } from "vitest";
import { EXAMPLE_ID, EXAMPLE_SECRET, EXAMPLE_SESSION_TOKEN, exampleIdentities, outcomeOf } from "../../testing/example-keys.js";
import type { PresentedRequest } from "../authenticator.js";
import { parseIdentities } from "../identities/identities-file.js";
import { signedHeadersOf } from "./authorization-header.js";
import { SignatureAuthenticator } from "./signature-authenticator.js";
import { canonicalOf, partsOf } from "./signed-request.js";
import { amzDateOf, EMPTY_SHA256, Signer } from "./signer.js";

/** The time of the examples in S3's documentation. */
const NOW_MS = Date.UTC(2013, 4, 24);
const DATE = "20130524T000000Z";
const SCOPE = { region: "us-east-1", service: "s3" };

interface Setting {
  readonly nowMs?: number;
  readonly externalHost?: string;
}

function authenticator({ nowMs = NOW_MS, externalHost }: Setting = {}): SignatureAuthenticator {
  const namesBucket = (host: string): boolean => host.endsWith(".s3.example");
  return new SignatureAuthenticator({
    file: { current: exampleIdentities, revision: 0 },
    externalHost,
    namesBucket,
    clock: { nowMs: () => nowMs },
  });
}

/** A request as Node gives it. `lines` are names and values in turn. */
function received(method: string, url: string, lines: readonly string[]): PresentedRequest & { rawHeaders: readonly string[] } {
  const headers: Record<string, string> = {};
  for (let at = 0; at < lines.length; at += 2) {
    const name = lines[at]!.toLowerCase();
    const value = lines[at + 1]!.trim();
    if (headers[name] === undefined) headers[name] = value;
    else if (name !== "authorization" && name !== "host") headers[name] += `, ${value}`;
  }
  return { method, url, headers, rawHeaders: lines };
}

/** The name of the principal, or the code of S3's error; "none" for credentials that are unknown here. */
function outcome(request: PresentedRequest, setting?: Setting): string {
  return outcomeOf(() => authenticator(setting).authenticate(request));
}

const host = "examplebucket.s3.amazonaws.com";

/** A request with the signature of the examples' documentation. */
function example(
  method: string,
  url: string,
  extra: readonly string[],
  signedHeaders: string,
  signature: string,
  hash = EMPTY_SHA256,
) {
  const authorization = `AWS4-HMAC-SHA256 Credential=${EXAMPLE_ID}/20130524/us-east-1/s3/aws4_request,SignedHeaders=${signedHeaders},Signature=${signature}`;
  const lines = ["Host", host, ...extra, "x-amz-date", DATE, "x-amz-content-sha256", hash, "Authorization", authorization];
  return received(method, url, lines);
}

const signer = new Signer();

interface Signing {
  readonly method?: string;
  readonly url?: string;
  /** Names and values in turn, signed all. */
  readonly headers?: readonly string[];
  readonly id?: string;
  readonly secret?: string;
  readonly date?: string;
  readonly region?: string;
  readonly service?: string;
  readonly names?: readonly string[];
}

/** A request that is signed in its header. */
function signed(signing: Signing = {}) {
  const { method = "GET", url = "/bucket/key", headers = [], id = EXAMPLE_ID, secret = EXAMPLE_SECRET, date = DATE } = signing;
  const { region = "us-east-1", service = "s3" } = signing;
  const lines = ["Host", host, "x-amz-date", date, "x-amz-content-sha256", EMPTY_SHA256, ...headers];
  const all = [...new Set(lines.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase()))].sort();
  const names = signing.names ?? all;
  const request = received(method, url, lines);
  const canonical = canonicalOf(request, partsOf(url), { signed: signedHeadersOf(names), payloadHash: EMPTY_SHA256 })!;
  const signature = signer.signatureOf(canonical, date, { accessKeyId: id, secretAccessKey: secret }, { region, service });
  const credential = `${id}/${date.slice(0, 8)}/${region}/${service}/aws4_request`;
  const value = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return received(method, url, [...lines, "Authorization", value]);
}

/** A presigned URL; `query` precedes the signature. */
function presigned({
  expires = "86400",
  date = DATE,
  id = EXAMPLE_ID,
  query = "",
  names = "host",
  path = "/bucket/key",
  lines = [] as string[],
} = {}) {
  const credential = encodeURIComponent(`${id}/${date.slice(0, 8)}/us-east-1/s3/aws4_request`);
  const parameters = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${credential}&X-Amz-Date=${date}&X-Amz-Expires=${expires}&X-Amz-SignedHeaders=${encodeURIComponent(names)}`;
  const url = `${path}?${query}${parameters}`;
  const request = received("GET", url, ["Host", host, ...lines]);
  const canonical = canonicalOf(request, partsOf(url), {
    signed: signedHeadersOf(names.split(";")),
    payloadHash: "UNSIGNED-PAYLOAD",
  })!;
  const signature = signer.signatureOf(canonical, date, { accessKeyId: id, secretAccessKey: EXAMPLE_SECRET }, SCOPE);
  return received("GET", `${url}&X-Amz-Signature=${signature}`, ["Host", host, ...lines]);
}

describe("S3's own examples of signatures", () => {
  const signedHeaders = "host;x-amz-content-sha256;x-amz-date";

  it.each([
    [
      "GET of a range",
      example(
        "GET",
        "/test.txt",
        ["Range", "bytes=0-9"],
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
      ),
    ],
    [
      "PUT of an object",
      example(
        "PUT",
        "/test$file.text",
        ["Date", "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class", "REDUCED_REDUNDANCY"],
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      ),
    ],
    [
      "GET of a bucket's lifecycle",
      example("GET", "/?lifecycle", [], signedHeaders, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    ],
    [
      "a listing",
      example(
        "GET",
        "/?max-keys=2&prefix=J",
        [],
        signedHeaders,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
      ),
    ],
    [
      "a presigned URL",
      received(
        "GET",
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        ["Host", host],
      ),
    ],
  ])("are accepted: %s", (_, request) => {
    expect(outcome(request)).toBe("ada");
    expect(outcome({ ...request, method: "DELETE" })).toBe("SignatureDoesNotMatch");
  });
});

describe("a signed request", () => {
  it.each([
    ["a path whose slashes and dots are kept", signed({ url: "/bucket//a/../b/./c//" })],
    ["a path with escapes, UTF-8 and a plus", signed({ url: "/bucket/%C3%BCber%20a+b%2Bc%2F!'()*" })],
    ["a query with repeated and empty parameters", signed({ url: "/bucket?a=2&a=1&b&c=&%C3%A4=x+y&versions" })],
    ["any region", signed({ region: "eu-central-1" })],
    ["a time 15 minutes ago", signed({ date: "20130523T234500Z" })],
    ["a time in 15 minutes", signed({ date: "20130524T001500Z" })],
    ["a target with a host", signed({ url: `http://${host}/bucket/key` })],
    ["headers of its own", signed({ headers: ["X-Amz-Meta-A", " a  b ", "Range", "bytes=0-1", "X-Amz-Meta-A", "c"] })],
    ["a presigned URL", presigned()],
    ["a presigned URL of seven days", presigned({ expires: "604800" })],
    ["a presigned URL with parameters", presigned({ query: "response-content-type=a%2Fb&versionId=1&" })],
  ])("is accepted with %s", (_, request) => {
    expect(outcome(request)).toBe("ada");
  });

  it.each([
    ["a wrong secret", "SignatureDoesNotMatch", signed({ secret: `${EXAMPLE_SECRET}x` })],
    ["an unknown access key", "none", signed({ id: "AKIAUNKNOWN" })],
    ["a time more than 15 minutes ago", "RequestTimeTooSkewed", signed({ date: "20130523T234459Z" })],
    ["a time more than 15 minutes ahead", "RequestTimeTooSkewed", signed({ date: "20130524T001501Z" })],
    ["another service", "AuthorizationHeaderMalformed", signed({ service: "sts" })],
    ["the host unsigned", "AuthorizationHeaderMalformed", signed({ names: ["x-amz-content-sha256", "x-amz-date"] })],
    ["the date unsigned", "AccessDenied", signed({ names: ["host", "x-amz-content-sha256"] })],
    [
      "a signed header that is missing",
      "SignatureDoesNotMatch",
      withAuthorization((value) => value.replace("=host;", "=host;range;")),
    ],
    ["a session token that its key does not have", "InvalidToken", signed({ headers: ["x-amz-security-token", "abc"] })],
    ["no session token", "InvalidToken", signed({ id: "ASIASESSION" })],
    ["a wrong session token", "InvalidToken", signed({ id: "ASIASESSION", headers: ["x-amz-security-token", "abc"] })],
    ["no fields", "AuthorizationHeaderMalformed", withAuthorization(() => "AWS4-HMAC-SHA256 abc")],
    ["a field twice", "AuthorizationHeaderMalformed", withAuthorization((value) => `${value}, Signature=0`)],
    ["no signature", "AuthorizationHeaderMalformed", withAuthorization((value) => value.replace(/, Signature=.*/, ""))],
    ["a malformed scope", "AuthorizationHeaderMalformed", withAuthorization((value) => value.replace("/aws4_request", ""))],
    [
      "the day of another time",
      "AuthorizationHeaderMalformed",
      withAuthorization((value) => value.replace("20130524", "20130523")),
    ],
    [
      "a signature in capitals",
      "SignatureDoesNotMatch",
      withAuthorization((value) => value.replace(/Signature=(.*)/, (all) => `Signature=${all.slice(10).toUpperCase()}`)),
    ],
    ["a path that is escaped twice", "SignatureDoesNotMatch", { ...signed({ url: "/bucket/a%20b" }), url: "/bucket/a%2520b" }],
    ["an expired presigned time", "AccessDenied", presigned({ date: "20130524T001501Z" })],
    ["a presigned URL with a header that is not signed", "AccessDenied", presigned({ lines: ["X-Amz-Acl", "public-read"] })],
    ["a presigned URL that would warm", "AccessDenied", presigned({ lines: ["frontcache-warm", "1"] })],
    ["a presigned URL with a parameter twice", "AuthorizationQueryParametersError", presigned({ query: `X-Amz-Date=${DATE}&` })],
    [
      "a presigned URL of another algorithm",
      "AuthorizationQueryParametersError",
      replaced(presigned(), "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
    ],
    ["a presigned URL without a signature", "SignatureDoesNotMatch", replaced(presigned(), /&X-Amz-Signature=.*/, "")],
    [
      "a presigned URL whose host is not signed",
      "AuthorizationQueryParametersError",
      presigned({ names: "range", lines: ["Range", "bytes=0-1"] }),
    ],
    ["both kinds of signatures", "InvalidArgument", received("GET", presigned().url!, [...signed().rawHeaders])],
    [
      "a presigned URL and a token",
      "InvalidArgument",
      received("GET", presigned().url!, ["Host", host, "Authorization", "Bearer x"]),
    ],
    [
      "two Authorization headers",
      "InvalidArgument",
      received("GET", "/bucket/key", [...signed().rawHeaders, "authorization", "x"]),
    ],
    ["a target whose host differs from the signed one", "SignatureDoesNotMatch", { ...signed(), url: "http://other/bucket/key" }],
  ])("is refused with %s", (_, expected, request) => {
    expect(outcome(request)).toBe(expected);
  });

  it("without a date, or without the hash of its body, is refused as S3 does", () => {
    const lines = [...signed().rawHeaders];
    const without = (name: string) =>
      received(
        "GET",
        "/bucket/key",
        lines.flatMap((text, at) => (at % 2 === 0 && text !== name ? [text, lines[at + 1]!] : [])),
      );
    expect(outcome(without("x-amz-date"))).toBe("AccessDenied");
    expect(outcome(without("x-amz-content-sha256"))).toBe("InvalidRequest");
    expect(outcome(without("Authorization"))).toBe("none");
  });

  it("carries the session token of its key", () => {
    expect(outcome(signed({ id: "ASIASESSION", headers: ["x-amz-security-token", EXAMPLE_SESSION_TOKEN] }))).toBe("session");
    const query = `X-Amz-Security-Token=${encodeURIComponent(EXAMPLE_SESSION_TOKEN)}&`;
    expect(outcome(presigned({ id: "ASIASESSION", query }))).toBe("session");
  });

  it("may be signed for the host of a proxy, unless the received host names a bucket", () => {
    const request = signed();
    const behind = (name: string) =>
      received(
        "GET",
        "/bucket/key",
        request.rawHeaders.map((text) => (text === host ? name : text)),
      );
    const setting = { externalHost: host };
    expect([outcome(behind("member:9000")), outcome(behind("member:9000"), setting)]).toEqual(["SignatureDoesNotMatch", "ada"]);
    expect(outcome(behind("bucket.s3.example"), setting)).toBe("SignatureDoesNotMatch");
    expect(outcome(behind("member:9000"), { externalHost: "another" })).toBe("SignatureDoesNotMatch");
  });

  it("by a key that was removed from the file is unknown", () => {
    const file = { current: exampleIdentities, revision: 0 };
    const options = { file, externalHost: undefined, namesBucket: () => false, clock: { nowMs: () => NOW_MS } };
    const verifier = new SignatureAuthenticator(options);
    expect(verifier.authenticate(signed())?.principal.name).toBe("ada");
    file.current = parseIdentities(
      `identities: [{ name: bob, accessKeys: [{ id: ${EXAMPLE_ID}, secret: another-secret-0123 }] }]\ngrants: []`,
    );
    expect(() => verifier.authenticate(signed())).toThrow("does not match");
    file.current = parseIdentities("identities: [{ name: bob }]\ngrants: []");
    expect(verifier.authenticate(signed())).toBeUndefined();
  });
});

function withAuthorization(change: (value: string) => string) {
  const lines = [...signed().rawHeaders];
  return received("GET", "/bucket/key", [...lines.slice(0, -1), change(lines.at(-1)!)]);
}

function replaced(request: PresentedRequest, from: string | RegExp, to: string): PresentedRequest {
  return { ...request, url: request.url!.replace(from, to) };
}

/** Numbers from 0 to `below` - 1 that are the same in each run (mulberry32). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

type Lines = readonly string[];
type Random = (below: number) => number;
type Mutation = (
  request: { url: string; lines: Lines; method: string },
  random: Random,
) => { url: string; lines: Lines; method: string };

const pairsOf = (lines: Lines): [string, string][] => lines.flatMap((name, at) => (at % 2 === 0 ? [[name, lines[at + 1]!]] : []));

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const rest = [...items];
  return items.map(() => rest.splice(random(rest.length), 1)[0]!);
}

/** Changes one character of a text to another one. */
function changedAt(text: string, at: number, random: Random): string {
  const characters = "abcdefghijklmnopqrstuvwxyz0123456789".replace(text[at]!, "");
  return text.slice(0, at) + characters[random(characters.length)] + text.slice(at + 1);
}

const onHeader =
  (name: string, change: (value: string, random: Random) => string): Mutation =>
  (request, random) => ({
    ...request,
    lines: pairsOf(request.lines).flatMap(([each, value]) => [each, each.toLowerCase() === name ? change(value, random) : value]),
  });

/** Changes that mean the same request. */
const equivalent: readonly Mutation[] = [
  (request, random) => ({ ...request, lines: shuffled(pairsOf(request.lines), random).flat() }),
  (request, random) => ({
    ...request,
    lines: pairsOf(request.lines).flatMap(([name, value]) => [random(2) === 0 ? name.toUpperCase() : name.toLowerCase(), value]),
  }),
  (request, random) => ({ ...request, lines: [...request.lines, `x-unsigned-${random(1_000)}`, "value"] }),
  (request, random) => ({
    ...request,
    lines: request.lines.map((text, at) => (at % 2 === 1 && random(2) === 0 ? ` ${text}  ` : text)),
  }),
  (request, random) => {
    const [path, query] = request.url.split("?") as [string, string];
    return { ...request, url: `${path}?${shuffled(query.split("&"), random).join("&")}` };
  },
  (request, random) => ({
    ...request,
    url: request.url.replace(/key/, (text) => (random(2) === 0 ? "%6Bey" : `k%65${text[2]}`)),
  }),
  onHeader("authorization", (value, random) => {
    const [algorithm, rest = ""] = value.trim().split(/ (.*)/);
    return `${algorithm} ${shuffled(rest.split(/, */), random).join(random(2) === 0 ? "," : ", ")}`;
  }),
];

/** Changes that mean another request, or none that was signed. */
const different: readonly Mutation[] = [
  (request, random) => ({ ...request, method: ["HEAD", "PUT", "DELETE", "POST", "get"][random(5)]! }),
  (request, random) => {
    const at = request.url.indexOf("/", 1) + 1 + random(3);
    return { ...request, url: changedAt(request.url, at, random) };
  },
  (request, random) => ({ ...request, url: request.url.replace("?", ["/?", "%2F?", "%20?", "x?", "//?"][random(5)]!) }),
  (request, random) => ({ ...request, url: `${request.url}&${["acl", "versionId=1", "x=y", "list-type=2", "="][random(5)]}` }),
  (request, random) => ({ ...request, url: request.url.replace(/&[^&]*$/, ["", "&b", "&b=3"][random(3)]!) }),
  (request) => ({ ...request, url: request.url.replace("/bucket/", "/bucket%252F") }),
  onHeader("host", (value, random) => ["other", `${value}:80`, value.replace("s3", "S3"), ""][random(4)]!),
  onHeader("range", (_, random) => `bytes=0-${10 + random(100)}`),
  onHeader("x-amz-meta-a", (value, random) => changedAt(value, random(value.length), random)),
  onHeader("x-amz-content-sha256", (value, random) =>
    random(3) === 0 ? "UNSIGNED-PAYLOAD" : changedAt(value, random(64), random),
  ),
  onHeader("x-amz-date", (_, random) => amzDateOf(NOW_MS + 1_000 * (1 + random(800)))),
  onHeader("authorization", (value, random) => changedAt(value, value.length - 1 - random(64), random)),
  onHeader("authorization", (value) => value.slice(0, -1)),
  onHeader("authorization", (value) => `${value}0`),
  onHeader("authorization", (value, random) => value.replace("us-east-1", ["us-east-2", "eu-west-1", "x"][random(3)]!)),
  onHeader("authorization", (value, random) => value.replace(";range", ["", ";range;range", ";Range"][random(3)]!)),
  onHeader("authorization", (value, random) =>
    value.replace(EXAMPLE_ID, ["ASIASESSION", "AKIAUNKNOWN", EXAMPLE_ID.toLowerCase()][random(3)]!),
  ),
  onHeader("authorization", (value, random) =>
    value.replace("AWS4-HMAC-SHA256", ["AWS4-HMAC-SHA1", "AWS4", "Bearer"][random(3)]!),
  ),
  (request, random) => ({
    ...request,
    lines: [...request.lines, ["x-amz-acl", "frontcache-warm", "x-amz-copy-source"][random(3)]!, "1"],
  }),
  (request, random) => ({
    ...request,
    lines: [...request.lines, ["range", "x-amz-meta-a", "x-amz-date"][random(3)]!, "bytes=1-1"],
  }),
  (request) => ({
    ...request,
    lines: pairsOf(request.lines)
      .filter(([name]) => name.toLowerCase() !== "range")
      .flat(),
  }),
];

describe("10,000 changes of a signed request", () => {
  it("are accepted if they mean the same, and refused otherwise", () => {
    const random = randomNumbers(19);
    const url = "/bucket/key?a=1&b=2";
    const base = {
      url,
      method: "GET",
      lines: signed({ url, headers: ["Range", "bytes=0-9", "X-Amz-Meta-A", "text"] }).rawHeaders,
    };
    let [same, other] = [0, 0];
    for (let round = 0; round < 10_000; round++) {
      let request: { url: string; lines: Lines; method: string } = base;
      const isDifferent = random(2) === 0;
      if (isDifferent) request = different[random(different.length)]!(request, random);
      for (let steps = random(4); steps > 0; steps--) request = equivalent[random(equivalent.length)]!(request, random);
      const result = outcome(received(request.method, request.url, request.lines));
      if ((result === "ada") === isDifferent) expect({ round, request, result, isDifferent }).toBe("decided rightly");
      if (isDifferent) other++;
      else same++;
    }
    expect(same + other).toBe(10_000);
    expect(Math.min(same, other)).toBeGreaterThan(4_000);
  });
});
