import { fileURLToPath } from "node:url";
import { makeGenericClientConstructor } from "@grpc/grpc-js";
import { CacheServiceService, type CacheServiceClient as GeneratedClient } from "./gen/cache.js";
import { decodeReadRangeResponse, encodeReadRangeResponse } from "./read-range-codec.js";
import { decodeLookupOwnerRequest, decodeReadRangeRequest } from "./request-codec.js";

/** Where cache.proto lies, in the source tree and in the installed package alike: reflection serves it. */
export const protoPath = fileURLToPath(new URL("../cache.proto", import.meta.url));

/** The generated service with (de)serialisers of our own where they matter; members and clients use this one. */
export const cacheService = {
  ...CacheServiceService,
  lookupOwner: { ...CacheServiceService.lookupOwner, requestDeserialize: (input: Buffer) => decodeLookupOwnerRequest(input) },
  readRange: {
    ...CacheServiceService.readRange,
    requestDeserialize: (input: Buffer) => decodeReadRangeRequest(input),
    responseSerialize: encodeReadRangeResponse,
    responseDeserialize: decodeReadRangeResponse,
  },
};

export type CacheServiceClient = GeneratedClient;

export const CacheServiceClient = makeGenericClientConstructor(cacheService, "cache.CacheService") as unknown as {
  new (...args: ConstructorParameters<typeof import("./gen/cache.js").CacheServiceClient>): GeneratedClient;
};
