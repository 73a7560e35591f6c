import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tokenSource } from "@frontcache/client/members";
import { amzDateOf, canonicalOf, EMPTY_SHA256, partsOf, Signer, signedHeadersOf } from "@frontcache/server/testing";
import { MemberProcess, temporaryDirectory } from "../../e2e/member-process.js";
import { type Answer, type Benchmark, barsOf, type Figure, type Table } from "../answer.js";
import { startLoadGenerator } from "../load/http-load.js";
import { REQUEST_SIZES, requestCosts, requestCostTable, type Target } from "../load/request-cost.js";
import { OTHER_CPUS, pin, portOf, SERVER_CPU } from "../machine.js";
import { OriginProcess } from "../origin-process.js";
import { MiB } from "../stage.js";

const ROUNDS = { rounds: 7, seconds: 1, warmUpSeconds: 2 };
const TOKEN = "a-bearer-token-0123456789";
const KEY = { id: "AKIABENCH", secret: "a-secret-of-an-access-key" };
/** The load generator sends it. */
const HOST = "bench";

const OPEN = "no identities file";
const OPEN_S3 = "no identities file, headers of S3";
const OPEN_BEARER = "no identities file, a bearer token";
const OPEN_ACCESS_KEY = "no identities file, a token signed with an access key";
const ANONYMOUS = "nothing presented";
const BEARER = "a bearer token";
const ACCESS_KEY = "a token signed with an access key";
const SIGNATURE = "SigV4";

const IDENTITIES = `
identities:
  - name: ada
    accessKeys: [{ id: ${KEY.id}, secret: ${KEY.secret} }]
    tokens: [${createHash("sha256").update(TOKEN).digest("hex")}]
grants: [{ to: ["*", anonymous], operations: read, buckets: s3://bench }]
`;

export const benchmark: Benchmark = {
  question: "What does a cached read cost more if the client is authenticated?",
  run: async () => {
    await using directory = await temporaryDirectory();
    await using origin = await OriginProcess.start();
    const identitiesFile = join(directory.path, "identities.yaml");
    writeFileSync(identitiesFile, IDENTITIES);
    const start = (name: string, ...flags: string[]) =>
      MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: join(directory.path, name), flags });
    await using open = await start("open");
    await using closed = await start("closed", "--identities-file", identitiesFile, "--audit-log", "none");
    await using load = startLoadGenerator();
    const { key } = await origin.putObject("hot", 16 * MiB);
    const path = `/s3/bench/${key}`;
    for (const { http } of [open, closed]) await (await fetch(`http://${http}${path}`)).arrayBuffer();
    if ([open, closed].every(({ pid }) => pin(pid, SERVER_CPU))) pin(origin.pid, OTHER_CPUS);
    return await measure(path, { open, closed }, load);
  },
};

async function measure(
  path: string,
  { open, closed }: { readonly open: MemberProcess; readonly closed: MemberProcess },
  load: ReturnType<typeof startLoadGenerator>,
): Promise<Answer> {
  const target = (name: string, { http, pid }: MemberProcess, header?: string): Target => ({
    name,
    port: portOf(http),
    path,
    pids: [pid],
    ...(header !== undefined && { header }),
  });
  const signed = signedHeaders(path);
  const byKey = tokenSource({ accessKey: { accessKeyId: KEY.id, secretAccessKey: KEY.secret } })!();
  const targets = [
    target(OPEN, open),
    target(OPEN_S3, open, signed),
    target(OPEN_BEARER, open, `Authorization: Bearer ${TOKEN}`),
    target(OPEN_ACCESS_KEY, open, `Authorization: Bearer ${byKey}`),
    target(ANONYMOUS, closed),
    target(BEARER, closed, `Authorization: Bearer ${TOKEN}`),
    target(ACCESS_KEY, closed, `Authorization: Bearer ${byKey}`),
    target(SIGNATURE, closed, signed),
  ];
  const [size] = REQUEST_SIZES;
  const costs = await requestCosts(load, targets, size!, ROUNDS);
  const tables: Table[] = [requestCostTable(size!, costs)];
  const more = (name: string, than: string, atMost: number): Figure => ({
    name: `CPU of ${name} over ${than}`,
    value: costs.get(name)!.cpuUs - costs.get(than)!.cpuUs,
    unit: "us",
    atMost,
  });
  // Each is compared with the same head where nobody is authenticated.
  const figures = [
    more(ANONYMOUS, OPEN, 5),
    more(BEARER, OPEN_BEARER, 5),
    more(ACCESS_KEY, OPEN_ACCESS_KEY, 5),
    more(SIGNATURE, OPEN_S3, 25),
  ];
  return { tables, figures, chart: barsOf(figures, "us") };
}

/** The headers of a signed GET of any range: Range need not be signed. */
function signedHeaders(path: string): string {
  const date = amzDateOf(Date.now());
  const headers = { host: HOST, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": date };
  const names = Object.keys(headers);
  const parts = { signed: signedHeadersOf(names), payloadHash: EMPTY_SHA256 };
  const canonical = canonicalOf({ method: "GET", url: path, headers }, partsOf(path), parts)!;
  const scope = { region: "us-east-1", service: "s3" };
  const signature = new Signer().signatureOf(canonical, date, { accessKeyId: KEY.id, secretAccessKey: KEY.secret }, scope);
  const credential = `${KEY.id}/${date.slice(0, 8)}/us-east-1/s3/aws4_request`;
  return [
    `x-amz-content-sha256: ${EMPTY_SHA256}`,
    `x-amz-date: ${date}`,
    `Authorization: AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`,
  ].join("\r\n");
}
