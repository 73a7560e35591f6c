import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, type PeerCertificate } from "node:tls";
import { HttpTransport, RunningCall, systemClock } from "@frontcache/client/testing";
import { ManualClock } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../e2e/member-process.js";
import { Authority, CertificateFiles, type Pair } from "./authority.js";
import { BYTES, ListenersUnderTest, type Shown, URL } from "./listeners-under-test.js";

let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let clock: ManualClock;

beforeEach(async () => {
  directory = await temporaryDirectory();
  clock = new ManualClock();
});

afterEach(() => directory[Symbol.asyncDispose]());

/** Continuous reads over both listeners, and their results. */
class Readers {
  readonly #listeners: ListenersUnderTest;
  readonly #shown: () => Shown;

  reads = 0;
  readonly failures: unknown[] = [];
  #stopped = false;
  readonly #running: Promise<void>[];
  readonly #landing: HttpTransport;

  constructor(listeners: ListenersUnderTest, shown: () => Shown) {
    this.#listeners = listeners;
    this.#shown = shown;
    const access = {
      tls: () => shown().tls,
      authorization: () => (shown().token === undefined ? undefined : `Bearer ${shown().token}`),
    };
    const limits = { connectTimeoutMs: 60_000, mostConnections: 4, idleMs: 10_000, stalledAfterMs: 60_000 };
    this.#landing = new HttpTransport({ clock: systemClock, access, ...limits });
    const { client } = listeners.caller(shown());
    this.#running = [this.#go(() => this.#byGrpc(client)), this.#go(() => this.#byHttp())];
  }

  /** Resolves after this number of further reads over each listener. */
  async more(reads: number): Promise<void> {
    const until = this.reads + reads;
    await expect.poll(() => this.reads, { timeout: 90_000, interval: 5 }).toBeGreaterThan(until);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
    await this.#landing.close();
  }

  async #go(read: () => Promise<string>): Promise<void> {
    while (!this.#stopped) {
      try {
        expect(await read()).toBe(BYTES);
        this.reads++;
      } catch (error) {
        this.failures.push(error);
        if (this.failures.length > 10) return;
      }
    }
  }

  async #byGrpc(client: ReturnType<ListenersUnderTest["caller"]>["client"]): Promise<string> {
    const { metadata } = this.#listeners.metadataOf(this.#shown());
    const request = { key: URL, offset: 0, length: 100, version: "", forwarded: false, cachedOnly: false };
    const parts: Buffer[] = [];
    for await (const { data } of client.readRange(request, metadata) as AsyncIterable<{ data: Buffer }>) parts.push(data);
    return Buffer.concat(parts).toString();
  }

  async #byHttp(): Promise<string> {
    let into = Buffer.alloc(0);
    const call = new RunningCall({ clock: systemClock, subject: URL, deadlineMs: 60_000 });
    const request = { url: URL, offset: 0, length: 100, version: "" };
    const target = {
      nextRequest: () => request,
      sent() {},
      open() {
        into = Buffer.alloc(BYTES.length);
      },
      room: () => into,
      landed: () => true,
    };
    const address = { grpcAddress: this.#listeners.grpcAddress, httpAddress: `127.0.0.1:${this.#listeners.httpPort}` };
    await this.#landing.read(address, target, call).finally(() => call.end());
    return into.toString();
  }
}

/** Returns the certificate that a new connection receives. */
function shownAt(port: number, { ca, cert, key }: { ca: string } & Pair): Promise<PeerCertificate> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { host: "127.0.0.1", port, servername: "frontcache", ca, cert, key, ALPNProtocols: ["h2", "http/1.1"] },
      () => {
        resolve(socket.getPeerCertificate());
        socket.destroy();
      },
    );
    socket.on("error", reject);
  });
}

describe("rotated certificates", () => {
  it("apply to new connections, and no read fails meanwhile", async () => {
    const [old, fresh] = [await Authority.create("old"), await Authority.create("fresh")];
    const both = `${old.pem}${fresh.pem}`;
    const files = new CertificateFiles(directory.path);
    files.write(await old.issue("frontcache"), both);
    const flags = { tlsCert: files.cert, tlsKey: files.key, tlsCa: files.ca };
    await using listeners = await ListenersUnderTest.open(flags, clock);
    let pair = await old.issue("client");
    const readers = new Readers(listeners, () => ({ tls: { ca: both, ...pair, serverName: "frontcache" } }));
    await readers.more(20);
    const before = await shownAt(listeners.httpPort, { ca: both, ...pair });

    // Only one file of the new pair exists when the files are read, so the old pair stays in use.
    const next = await fresh.issue("frontcache");
    writeFileSync(files.cert, next.cert);
    clock.advance(1_000);
    await readers.more(20);
    expect((await shownAt(listeners.httpPort, { ca: both, ...pair })).fingerprint).toBe(before.fingerprint);

    files.write(next, fresh.pem);
    clock.advance(1_000);
    const stillOld = pair;
    pair = await fresh.issue("client");
    for (const port of [listeners.httpPort, listeners.grpc.address.port]) {
      await expect
        .poll(async () => (await shownAt(port, { ca: both, ...pair })).fingerprint, { interval: 10 })
        .not.toBe(before.fingerprint);
    }
    await readers.more(20);
    await readers.stop();
    expect(readers.failures).toEqual([]);
    // A client with only an old certificate is rejected.
    const late = listeners.call({ tls: { ca: both, ...stillOld, serverName: "frontcache" } }, "/grpc.health.v1.Health/Check");
    await expect(late).rejects.toThrow(/UNAVAILABLE/);
  });
});

describe("rotated tokens", () => {
  const [OLD, NEW] = ["the-old-token-of-everybody", "the-new-token-of-everybody"];

  it("overlap without a failed read; then the old one is refused immediately, also on open connections", async () => {
    const authTokenFile = join(directory.path, "tokens");
    writeFileSync(authTokenFile, OLD);
    await using listeners = await ListenersUnderTest.open({ authTokenFile }, clock);
    let token = OLD;
    const readers = new Readers(listeners, () => ({ token }));
    await readers.more(20);
    const exchange = async (text: string, own: string): Promise<void> => {
      writeFileSync(authTokenFile, text);
      clock.advance(1_000);
      await expect.poll(() => listeners.security.ownToken, { interval: 5 }).toBe(own);
      await readers.more(20);
    };
    await exchange(`${NEW}\n${OLD}\n`, NEW);
    token = NEW;
    await readers.more(20);
    await exchange(`${NEW}\n`, NEW);
    expect(readers.failures).toEqual([]);
    rmSync(authTokenFile);
    clock.advance(1_000);
    await readers.more(20);
    expect(readers.failures).toEqual([]);
    expect(listeners.security.ownToken).toBe(NEW);
    token = OLD;
    await expect.poll(() => readers.failures.length).toBeGreaterThan(2);
    await readers.stop();
    for (const failure of readers.failures) expect(String(failure)).not.toContain(OLD);
  });
});
