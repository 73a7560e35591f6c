import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Client, credentials, loadPackageDefinition, type ServiceError, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { BUILT_PROGRAM, MemberProcess, temporaryDirectory } from "./member-process.js";

const MiB = 1 << 20;
const BLOCK = 16 * MiB;
const SIZE = 40 * MiB;

/** The three gRPC contracts of FrontCache's clients. */
const contracts = {
  "the first contract, until 2026-02-22": `
    syntax = "proto3";
    package cache;
    service CacheService {
      rpc LookupOwner(LookupOwnerRequest) returns (LookupOwnerResponse);
      rpc ReadRange(ReadRangeRequest) returns (stream ReadRangeResponse);
    }
    message LookupOwnerRequest { string key = 1; uint64 offset = 2; }
    message LookupOwnerResponse { string addr = 1; }
    message ReadRangeRequest { string key = 1; uint64 offset = 2; uint64 length = 3; string version = 4; }
    message ReadRangeResponse { bytes data = 1; }
  `,
  "routers and servers, until 2026-03-04": `
    syntax = "proto3";
    package cache;
    service RouterService { rpc LookupOwner(LookupOwnerRequest) returns (LookupOwnerResponse); }
    service CacheService { rpc ReadRange(ReadRangeRequest) returns (stream ReadRangeResponse); }
    message LookupOwnerRequest { string key = 1; uint64 offset = 2; }
    message LookupOwnerResponse { repeated string addrs = 1; }
    message ReadRangeRequest { string key = 1; uint64 offset = 2; uint64 length = 3; optional string version = 4; }
    message ReadRangeResponse { bytes data = 1; }
  `,
  "the object's size in responses, until 2026-03-11": `
    syntax = "proto3";
    package cache;
    service RouterService { rpc LookupOwner(LookupOwnerRequest) returns (LookupOwnerResponse); }
    service CacheService { rpc ReadRange(ReadRangeRequest) returns (stream ReadRangeResponse); }
    message LookupOwnerRequest { string key = 1; uint64 offset = 2; }
    message LookupOwnerResponse { repeated string addrs = 1; }
    message ReadRangeRequest { string key = 1; uint64 offset = 2; uint64 length = 3; optional string version = 4; }
    message ReadRangeResponse { bytes data = 1; uint64 object_size = 2; }
  `,
};

interface Range {
  readonly key: string;
  readonly offset: number;
  readonly length: number;
  readonly version?: string;
}

interface LookupClient extends Client {
  LookupOwner(
    request: { key: string; offset: number },
    callback: (error: ServiceError | null, response: { addr?: string; addrs?: string[] }) => void,
  ): void;
}

interface CacheClient extends LookupClient {
  ReadRange(request: Range): AsyncIterable<{ data: Buffer; object_size?: number }>;
}

type ClientClass<C> = new (...args: ConstructorParameters<typeof Client>) => C;

interface Services {
  readonly CacheService: ClientClass<CacheClient>;
  readonly RouterService?: ClientClass<LookupClient>;
}

let origin: S3Emulator;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let member: MemberProcess;
let version: string;

beforeAll(async () => {
  origin = await S3Emulator.start();
  directory = await temporaryDirectory();
  member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path, program: BUILT_PROGRAM });
  version = origin.putRamp("bucket", "object", SIZE, 11);
});

afterAll(async () => {
  expect(await member.stop()).toBe(0);
  await origin[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

const key = "s3://bucket/object";

describe.each(Object.entries(contracts))("a client of FrontCache with %s", (name, text) => {
  let services: Services;
  const clients: Client[] = [];

  beforeAll(async () => {
    const path = join(directory.path, `${Object.keys(contracts).indexOf(name)}.proto`);
    await writeFile(path, text);
    const definition = loadSync(path, { keepCase: true, longs: Number });
    services = (loadPackageDefinition(definition) as unknown as { cache: Services }).cache;
  });

  afterAll(() => {
    for (const client of clients) client.close();
  });

  function connect<C extends Client>(Service: ClientClass<C>, address = member.grpc): C {
    const client = new Service(address, credentials.createInsecure());
    clients.push(client);
    return client;
  }

  function owners(offset: number): Promise<readonly string[]> {
    const client = connect<LookupClient>(services.RouterService ?? services.CacheService);
    return new Promise((resolve, reject) =>
      client.LookupOwner({ key, offset }, (error, response) =>
        error === null ? resolve(response.addrs ?? [response.addr!]) : reject(error),
      ),
    );
  }

  async function read(range: Range, address?: string): Promise<{ bytes: Buffer; size: number | undefined }> {
    const pieces: Buffer[] = [];
    let size: number | undefined;
    for await (const { data, object_size } of connect(services.CacheService, address).ReadRange(range)) {
      size ??= object_size;
      pieces.push(data);
    }
    return { bytes: Buffer.concat(pieces), size };
  }

  it("looks up each block's owner and reads that block's bytes from it", async () => {
    const [from, to] = [10 * MiB + 3, 38 * MiB];
    const pieces: Buffer[] = [];
    for (let at = from; at < to; ) {
      const end = Math.min(to, (Math.floor(at / BLOCK) + 1) * BLOCK);
      const addresses = await owners(at);
      expect(addresses).toEqual([member.grpc]);
      pieces.push((await read({ key, offset: at, length: end - at, version }, addresses[0])).bytes);
      at = end;
    }
    expect(Buffer.concat(pieces).equals(rampBytes(from, to - from, 11))).toBe(true);
  });

  it("reads without a version, and gets the object's size if its contract has that field", async () => {
    const { bytes, size } = await read({ key, offset: 5, length: 100 });
    expect(bytes.equals(rampBytes(5, 100, 11))).toBe(true);
    expect(size).toBe(text.includes("object_size") ? SIZE : undefined);
  });

  it.each([
    [status.FAILED_PRECONDITION, { key, offset: 0, length: 10, version: "another" }],
    [status.NOT_FOUND, { key: "s3://bucket/missing", offset: 0, length: 10 }],
    [status.OUT_OF_RANGE, { key, offset: SIZE, length: 10 }],
    [status.INVALID_ARGUMENT, { key: "file:///etc/passwd", offset: 0, length: 10 }],
  ])("gets status %i for %j", async (code, range) => {
    await expect(read(range)).rejects.toMatchObject({ code });
  });
});
