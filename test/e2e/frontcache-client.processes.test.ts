import { type Client, credentials, loadPackageDefinition, type ServiceError } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import { describe, expect, it } from "vitest";
import { rampBytes, S3Emulator } from "../emulators/s3.js";
import { MemberProcess, temporaryDirectory } from "./member-process.js";

const MiB = 1 << 20;
const BLOCK = 16 * MiB;

/** All that a client of FrontCache knows of the service: two calls, four fields of a request, one of an answer. */
const definition = fromJSON({
  nested: {
    cache: {
      nested: {
        CacheService: {
          methods: {
            LookupOwner: { comment: "", requestType: "LookupOwnerRequest", responseType: "LookupOwnerResponse" },
            ReadRange: { comment: "", requestType: "ReadRangeRequest", responseType: "ReadRangeResponse", responseStream: true },
          },
        },
        LookupOwnerRequest: { fields: { key: { type: "string", id: 1 }, offset: { type: "uint64", id: 2 } } },
        LookupOwnerResponse: { fields: { addr: { type: "string", id: 1 } } },
        ReadRangeRequest: {
          fields: {
            key: { type: "string", id: 1 },
            offset: { type: "uint64", id: 2 },
            length: { type: "uint64", id: 3 },
            version: { type: "string", id: 4 },
          },
        },
        ReadRangeResponse: { fields: { data: { type: "bytes", id: 1 } } },
      },
    },
  },
});

interface FrontCacheClient extends Client {
  LookupOwner(request: object, callback: (error: ServiceError | null, response: { addr: string }) => void): void;
  ReadRange(request: object): AsyncIterable<{ data: Buffer }>;
}

function connect(address: string): FrontCacheClient {
  const { cache } = loadPackageDefinition(definition) as unknown as {
    cache: { CacheService: new (...args: ConstructorParameters<typeof Client>) => FrontCacheClient };
  };
  return new cache.CacheService(address, credentials.createInsecure());
}

describe("a client that knows only FrontCache's own contract", () => {
  it("looks up the owner of each block of a range and reads the block's part from it", async () => {
    await using origin = await S3Emulator.start();
    await using directory = await temporaryDirectory();
    await using member = await MemberProcess.start({ endpoint: origin.endpoint, cacheDirectory: directory.path });
    const version = origin.putRamp("bucket", "object", 40 * MiB, 11);
    const key = "s3://bucket/object";
    const [from, to] = [10 * MiB + 3, 38 * MiB];
    const pieces: Buffer[] = [];
    const router = connect(member.grpc);
    for (let at = from; at < to; at = (Math.floor(at / BLOCK) + 1) * BLOCK) {
      const addr = await new Promise<string>((resolve, reject) =>
        router.LookupOwner({ key, offset: at }, (error, response) => (error === null ? resolve(response.addr) : reject(error))),
      );
      expect(addr).toBe(member.grpc);
      const owner = connect(addr);
      const length = Math.min(to, (Math.floor(at / BLOCK) + 1) * BLOCK) - at;
      for await (const { data } of owner.ReadRange({ key, offset: at, length, version })) pieces.push(data);
      owner.close();
    }
    router.close();
    expect(Buffer.concat(pieces).equals(rampBytes(from, to - from, 11))).toBe(true);
    expect(await member.stop()).toBe(0);
  });
});
