import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { request as requestHttp } from "node:http";
import { join } from "node:path";
import { callMetadata } from "@frontcache/client/grpc";
import { accessOf } from "@frontcache/client/testing";
import {
  BeginUploadRequest,
  FinalizeUploadRequest,
  GetValueRequest,
  ListValuesRequest,
  LockValueRequest,
  MonitorValuesRequest,
  PutValueRequest,
  UnlockValueRequest,
  ValueRequest,
  WriteRangeRequest,
} from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import {
  ANONYMOUS,
  authorizedValues,
  Clients,
  elCacheSite,
  filestoreSite,
  formatHostPort,
  GrpcListener,
  HttpListener,
  knowsNoObjects,
  ManualClock,
  MemberSecurity,
  MemoryCache,
  MemoryValues,
  readSettings,
  silentLog,
  systemClock,
  valueApi,
} from "@frontcache/server/testing";
import { Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";

/** Everybody who asks, in the order of the table's columns. */
const CALLERS = ["ada", "wes", "root", "nobody", "anonymous", "wrong"] as const;
type Caller = (typeof CALLERS)[number];

const tokenOf = (caller: Caller): string | undefined => (caller === "anonymous" ? undefined : `${caller}-token-0123456789`);
const identity = (name: Caller): string =>
  `  - { name: ${name}, tokens: [${createHash("sha256").update(tokenOf(name)!).digest("hex")}] }`;

const FILE = `
identities:
${(["ada", "wes", "root", "nobody"] as const).map(identity).join("\n")}
grants:
  - { to: ada, operations: [read, list], buckets: ["cache://*"], prefixes: public/ }
  - { to: wes, operations: write, buckets: cache://elcache }
  - { to: root, operations: [read, list, write, delete, status], buckets: ["cache://*"] }
`;

type Ask = (caller: Caller) => Promise<number>;
type Where = { readonly port: number } | { readonly socketPath: string };

const clock = new ManualClock(Date.now());
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let values: MemoryValues;
/** How many requests have reached the values. */
let reached = 0;
let grpc: GrpcListener;
let overHttp: Record<"http" | "elcache" | "filestore", HttpListener<MemoryValues>>;
let channel: Client;
let clients: Clients;

beforeAll(async () => {
  directory = await temporaryDirectory();
  const identitiesFile = join(directory.path, "identities.yaml");
  writeFileSync(identitiesFile, FILE);
  const settings = readSettings({ identitiesFile }, {});
  const security = await MemberSecurity.open(settings, clock, silentLog);
  clients = new Clients(settings, clock);
  const listen = { tcp: { host: "127.0.0.1", port: 0 } };
  const shared = { drainMs: 1_000, security, clients, clock: systemClock, log: silentLog };
  grpc = await GrpcListener.open({ ...shared, listen });
  const open = (name: "http" | "elcache" | "filestore", site: ReturnType<typeof valueApi>, socketPath?: string) =>
    HttpListener.open<MemoryValues>({
      ...shared,
      listen: socketPath === undefined ? listen : { ...listen, socketPath },
      name,
      site: site as never,
      writes: true,
      socketCalls: undefined,
      notReadyReasons: () => [],
      pages: new Map(),
    });
  overHttp = {
    http: await open("http", valueApi()),
    elcache: await open("elcache", elCacheSite({ bucket: "elcache", clock, cluster: undefined }), socketAt()),
    filestore: await open("filestore", filestoreSite({ bucket: "filestore", maxFileBytes: 1_000 })),
  };
  const counted = new Proxy({} as MemoryValues, {
    get: (_, name: keyof MemoryValues) => {
      return (...args: unknown[]) => {
        reached++;
        return (values[name] as (...of: unknown[]) => unknown).apply(values, args);
      };
    },
  });
  const served = authorizedValues(security.authorization)(counted);
  const cache = new MemoryCache();
  grpc.serve({ cache, members: cache, objects: knowsNoObjects, clientValues: served });
  for (const listener of Object.values(overHttp)) listener.serve(served as MemoryValues);
  channel = new Client(formatHostPort(grpc.address), credentials.createInsecure());
});
afterAll(async () => {
  channel?.close();
  await Promise.all([grpc?.close(), ...Object.values(overHttp ?? {}).map((listener) => listener.close())]);
  clients?.close();
  await directory?.[Symbol.asyncDispose]();
});

beforeEach(async () => {
  values = new MemoryValues(clock);
  const signal = new AbortController().signal;
  for (const key of ["elcache/public/a", "elcache/private/b", "filestore/f"]) {
    await values.put({ url: `cache://${key}`, principal: ANONYMOUS, signal }, Buffer.from("bytes"));
  }
});

function socketAt(): string {
  return join(directory.path, "elcache.sock");
}

/** Sends a request; resolves with the status of its response, whose body is not awaited. */
function send(where: Where, method: string, path: string, caller: Caller, sent: Sent): Promise<number> {
  const token = tokenOf(caller);
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    const headers = { ...sent.headers, ...authorization };
    const request = requestHttp({ ...where, host: "127.0.0.1", method, path, headers, agent: false }, (response) => {
      response.on("error", () => {});
      resolve(response.statusCode!);
      request.destroy();
    });
    request.on("error", reject).end(sent.body);
  });
}

interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

const at =
  (listener: "http" | "elcache" | "filestore", method: string, path: string, sent: Sent = {}): Ask =>
  (caller) =>
    send({ port: overHttp[listener].address.port }, method, path, caller, sent);
const bySocket =
  (method: string, path: string, sent: Sent = {}): Ask =>
  (caller) =>
    send({ socketPath: socketAt() }, method, path, caller, sent);

/** A gRPC call, of which the answer counts, or that it has reached the values. Answers as HTTP would. */
const call =
  (method: string, message: Uint8Array): Ask =>
  async (caller) => {
    const before = reached;
    const asIs = (bytes: Buffer): Buffer => bytes;
    const metadata = callMetadata(accessOf({ token: tokenOf(caller) }));
    const stream = channel.makeBidiStreamRequest(`/cache.ValueService/${method}`, asIs, asIs, metadata);
    const answered = new Promise<number>((resolve) => {
      stream.on("data", () => {});
      stream.on("status", ({ code }) => code === status.OK && resolve(200));
      stream.on("error", ({ code }: ServiceError) => {
        resolve(code === status.PERMISSION_DENIED ? 403 : code === status.UNAUTHENTICATED ? 401 : 499);
      });
    });
    stream.write(Buffer.from(message));
    stream.end();
    const begun = eventually(() => expect(reached).toBeGreaterThan(before)).then(() => 200);
    // Of a call that is refused, the values hear nothing.
    const code = await Promise.race([answered, begun.catch(() => answered)]);
    stream.cancel();
    return code;
  };

const PUBLIC = "cache://elcache/public/a";
const PRIVATE = "cache://elcache/private/b";
const body = { body: "x" };
const size = { headers: { "x-elcache-size": "5" } };
const put = (url: string) => PutValueRequest.encode(PutValueRequest.fromPartial({ url, last: true })).finish();
const of = (url: string) => ValueRequest.encode({ url }).finish();
const begin = (url: string) => BeginUploadRequest.encode(BeginUploadRequest.fromPartial({ url, size: 5 })).finish();
const list = (prefix: string) => ListValuesRequest.encode(ListValuesRequest.fromPartial({ bucket: "elcache", prefix })).finish();

/** What each of ada, wes, root, nobody, anonymous and wrong gets: `+` an answer, `-` a refusal. */
const TABLE: readonly [what: string, expected: string, ask: Ask][] = [
  ["ElCache: GET", "+-+---", at("elcache", "GET", "/cache/public/a")],
  ["ElCache: GET of a range", "+-+---", at("elcache", "GET", "/cache/public/a", { headers: { range: "bytes=0-1" } })],
  ["ElCache: GET of a suffix", "+-+---", at("elcache", "GET", "/cache/public/a", { headers: { range: "bytes=-1" } })],
  ["ElCache: GET beside the prefix", "--+---", at("elcache", "GET", "/cache/private/b")],
  ["ElCache: GET by an escaped slash beside the prefix", "--+---", at("elcache", "GET", "/cache/private%2Fb")],
  ["ElCache: HEAD", "+-+---", at("elcache", "HEAD", "/cache/public/a")],
  ["ElCache: PUT", "-++---", at("elcache", "PUT", "/cache/public/a", body)],
  ["ElCache: POST", "-++---", at("elcache", "POST", "/cache/private/b", body)],
  ["ElCache: DELETE", "--+---", at("elcache", "DELETE", "/cache/public/a")],
  ["ElCache: begin an upload", "-++---", at("elcache", "POST", "/sparse/s", size)],
  ["ElCache: write a range", "-++---", at("elcache", "PATCH", "/sparse/s", body)],
  ["ElCache: describe an upload", "-++---", at("elcache", "GET", "/sparse/s")],
  ["ElCache: finalize an upload", "-++---", at("elcache", "POST", "/sparse/s/finalize")],
  ["ElCache: abort an upload", "-++---", at("elcache", "DELETE", "/sparse/s")],
  ["ElCache: statistics", "--+---", at("elcache", "GET", "/stats")],
  ["ElCache: metrics", "--+---", at("elcache", "GET", "/metrics")],
  ["ElCache: the cluster", "--+---", at("elcache", "GET", "/cluster")],
  ["ElCache: health", "++++++", at("elcache", "GET", "/health")],
  ["ElCache by a Unix socket: GET", "+-+---", bySocket("GET", "/cache/public/a")],
  ["ElCache by a Unix socket: GET beside the prefix", "--+---", bySocket("GET", "/cache/private/b")],
  ["ElCache by a Unix socket: PUT", "-++---", bySocket("PUT", "/cache/public/a", body)],
  ["ElCache by a Unix socket: statistics", "--+---", bySocket("GET", "/stats")],
  ["filestore: GET", "--+---", at("filestore", "GET", "/file/f")],
  ["filestore: POST", "--+---", at("filestore", "POST", "/file/g", body)],
  ["filestore: DELETE", "--+---", at("filestore", "DELETE", "/file/f")],
  ["the client over HTTP: GET", "+-+---", at("http", "GET", "/values/elcache/public/a")],
  ["the client over HTTP: GET beside the prefix", "--+---", at("http", "GET", "/values/elcache/private/b")],
  [
    "the client over HTTP: GET that follows a writer beside the prefix",
    "--+---",
    at("http", "GET", "/values/elcache/private/b", { headers: { "frontcache-follow": "1" } }),
  ],
  ["the client over HTTP: PUT", "-++---", at("http", "PUT", "/values/elcache/public/a", body)],
  ["the client over HTTP: DELETE", "--+---", at("http", "DELETE", "/values/elcache/public/a")],
  ["the client over HTTP: list", "+-+---", at("http", "GET", "/values/elcache?list&prefix=public%2F")],
  ["the client over HTTP: list beside the prefix", "--+---", at("http", "GET", "/values/elcache?list&prefix=p")],
  ["the client over HTTP: monitor", "+-+---", at("http", "GET", "/values/elcache?monitor&prefix=public%2F")],
  ["the client over HTTP: monitor beside the prefix", "--+---", at("http", "GET", "/values/elcache?monitor")],
  ["the client over HTTP: lock", "-++---", at("http", "POST", "/values/elcache/public/a?lock=1&holder=h")],
  ["the client over HTTP: statistics", "--+---", at("http", "GET", "/values/elcache?stats")],
  ["gRPC: Put", "-++---", call("Put", put(PUBLIC))],
  ["gRPC: Get", "+-+---", call("Get", GetValueRequest.encode(GetValueRequest.fromPartial({ url: PUBLIC })).finish())],
  [
    "gRPC: Get that follows a writer beside the prefix",
    "--+---",
    call("Get", GetValueRequest.encode(GetValueRequest.fromPartial({ url: PRIVATE, follow: true })).finish()),
  ],
  ["gRPC: Head", "+-+---", call("Head", of(PUBLIC))],
  ["gRPC: Head beside the prefix", "--+---", call("Head", of(PRIVATE))],
  ["gRPC: Delete", "--+---", call("Delete", of(PUBLIC))],
  ["gRPC: List", "+-+---", call("List", list("public/"))],
  ["gRPC: List beside the prefix", "--+---", call("List", list(""))],
  ["gRPC: BeginUpload", "-++---", call("BeginUpload", begin(PUBLIC))],
  [
    "gRPC: WriteRange",
    "-++---",
    call("WriteRange", WriteRangeRequest.encode(WriteRangeRequest.fromPartial({ url: PUBLIC })).finish()),
  ],
  ["gRPC: DescribeUpload", "-++---", call("DescribeUpload", of(PUBLIC))],
  ["gRPC: FinalizeUpload", "-++---", call("FinalizeUpload", FinalizeUploadRequest.encode({ url: PUBLIC }).finish())],
  ["gRPC: AbortUpload", "-++---", call("AbortUpload", of(PUBLIC))],
  ["gRPC: Lock", "-++---", call("Lock", LockValueRequest.encode({ url: PUBLIC, holder: "h", seconds: 1 }).finish())],
  ["gRPC: Unlock", "-++---", call("Unlock", UnlockValueRequest.encode({ url: PUBLIC, holder: "h" }).finish())],
  ["gRPC: Monitor", "+-+---", call("Monitor", MonitorValuesRequest.encode({ bucket: "elcache", prefix: "public/" }).finish())],
  [
    "gRPC: Monitor beside the prefix",
    "--+---",
    call("Monitor", MonitorValuesRequest.encode({ bucket: "elcache", prefix: "" }).finish()),
  ],
];

describe("every interface to values", () => {
  it.each(TABLE)("grants exactly what the file grants: %s", async (what, expected, ask) => {
    let got = "";
    for (const caller of CALLERS) {
      const before = reached;
      const code = await ask(caller);
      const isRefused = code === 401 || code === 403;
      got += isRefused ? "-" : "+";
      if (isRefused && !what.endsWith("statistics")) expect([caller, reached]).toEqual([caller, before]);
    }
    expect(got).toBe(expected);
  });
});
