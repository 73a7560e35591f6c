import { once } from "node:events";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  certificateProblems,
  expiryMs,
  type Log,
  ManualClock,
  MemberSecurity,
  readCertificates,
  readSettings,
} from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { Authority, CertificateFiles, type Pair } from "./authority.js";
import { ListenersUnderTest } from "./listeners-under-test.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let authority: Authority;
let other: Authority;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let files: CertificateFiles;

beforeAll(async () => {
  [authority, other] = await Promise.all([Authority.create("ours"), Authority.create("theirs")]);
  directory = await temporaryDirectory();
  files = new CertificateFiles(directory.path);
});

afterAll(() => directory[Symbol.asyncDispose]());

const read = ({ cert, key }: Pair, ca?: string) =>
  readCertificates([cert, key, ...(ca === undefined ? [] : [ca])].map((text) => Buffer.from(text)));

/** A log that records its lines. */
function recordingLog(): { readonly log: Log; readonly lines: { readonly event: string; readonly msg: string }[] } {
  const lines: { event: string; msg: string }[] = [];
  const write = ({ event }: { event: string }, msg: string): void => void lines.push({ event, msg });
  return { log: { debug: write, info: write, warn: write, error: write, always: write } as unknown as Log, lines };
}

describe("the files of certificates", () => {
  it("are rejected with the reason if a key is given as CA, the CA is empty, or the key does not match", async () => {
    const [pair, second] = [await authority.issue("a"), await authority.issue("b")];
    expect(() => read(pair, pair.key)).toThrow("--tls-ca contains a private key instead of a certificate");
    expect(() => read(pair, "")).toThrow("--tls-ca contains no certificate");
    expect(() => read({ cert: pair.key, key: pair.key })).toThrow("--tls-cert contains a private key instead of a certificate");
    expect(() => read({ cert: pair.cert, key: second.key })).toThrow("the private key does not match the certificate");
  });

  it("report when the certificate expires", async () => {
    const atMs = Math.floor((Date.now() + 3 * DAY_MS) / 1_000) * 1_000;
    expect(expiryMs(read(await authority.issueUntil(atMs, "a")))).toBe(atMs);
  });

  it.each([
    ["valid", 30 * DAY_MS, undefined, "ours", []],
    ["valid for the server name", 30 * DAY_MS, "frontcache", "ours", []],
    ["expired", -HOUR_MS, undefined, "ours", [/^the certificate expired on 20/]],
    ["expiring soon", 2 * DAY_MS, undefined, "ours", [/^the certificate expires soon, on 20/]],
    ["of another name", 30 * DAY_MS, "elsewhere", "ours", [/^the certificate is not valid for --tls-server-name elsewhere/]],
    ["signed by another authority", 30 * DAY_MS, undefined, "theirs", [/^no certificate of --tls-ca signed/]],
  ] as const)(
    "are reported with the right problems if the certificate is %s",
    async (_, validMs, serverName, signer, expected) => {
      const pair = await (signer === "ours" ? authority : other).issueUntil(Date.now() + validMs, "frontcache");
      const problems = certificateProblems(read(pair, authority.pem), serverName, Date.now());
      expect(problems).toEqual(expected.map((text) => expect.stringMatching(text)));
    },
  );
});

describe("an expiring certificate", () => {
  it("is logged at the start, each hour, and no longer after it was replaced", async () => {
    const clock = new ManualClock(Date.now());
    const { log, lines } = recordingLog();
    files.write(await authority.issueUntil(Date.now() - HOUR_MS, "frontcache"), authority.pem);
    const flags = { tlsCert: files.cert, tlsKey: files.key, tlsCa: files.ca };
    const security = await MemberSecurity.open(readSettings(flags, {}), clock, log);
    expect(lines).toEqual([{ event: "certificate-problem", msg: expect.stringContaining("expired on") }]);
    clock.advance(HOUR_MS);
    expect(lines.length).toBe(2);
    let replaced = 0;
    security.tls!.onChange(() => replaced++);
    files.write(await authority.issueUntil(Date.now() + 30 * DAY_MS, "frontcache"), authority.pem);
    await expect
      .poll(() => {
        clock.advance(1_000);
        return replaced;
      })
      .toBe(1);
    clock.advance(HOUR_MS);
    expect(lines.length).toBe(2);
    await security.close();
    expect(clock.waits).toBe(0);
  });
});

describe("failed TLS handshakes", () => {
  it("are counted per listener, and logged with their cause at most once in ten seconds", async () => {
    files.write(await authority.issue("frontcache"), authority.pem);
    const { log, lines } = recordingLog();
    const clock = new ManualClock(Date.now());
    await using listeners = await ListenersUnderTest.open(
      { tlsCert: files.cert, tlsKey: files.key, tlsCa: files.ca },
      clock,
      log,
    );
    const { counts } = listeners.security.tls!.handshakes;
    const causes = (): string[] => lines.filter(({ event }) => event === "tls-handshake-failed").map(({ msg }) => msg);

    const plain = connect(listeners.httpPort, "127.0.0.1");
    plain.on("error", () => {}).end("GET / HTTP/1.1\r\n\r\n");
    await expect.poll(() => counts).toMatchObject({ grpc: 0, http: 1, s3: 0 });
    expect(causes()).toEqual(["TLS handshake failed: the client sent plain HTTP to a TLS port"]);

    const stranger = await other.issue("a stranger");
    const strange = (): void => {
      const { cert, key } = stranger;
      const { port } = listeners.grpc.address;
      connectTls({ host: "127.0.0.1", port, ca: authority.pem, cert, key, ALPNProtocols: ["h2"] }).on("error", () => {});
    };
    strange();
    await expect.poll(() => counts).toMatchObject({ grpc: 1, http: 1, s3: 0 });
    expect(causes().length).toBe(1);
    clock.advance(10_000);
    strange();
    await expect.poll(() => counts.grpc).toBe(2);
    expect(causes().slice(1)).toEqual([expect.stringMatching(/^TLS handshake failed: the client's certificate is refused: /)]);

    const distrusting = connectTls({ host: "127.0.0.1", port: listeners.httpPort, ca: other.pem });
    await once(distrusting, "error");
    await expect.poll(() => counts.http).toBe(2);
  });
});
