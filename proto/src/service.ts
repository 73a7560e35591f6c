import { makeGenericClientConstructor } from "@grpc/grpc-js";
import { CacheServiceService, type CacheServiceClient as GeneratedClient } from "./gen/cache.js";
import { decodeReadRangeResponse, encodeReadRangeResponse } from "./read-range-codec.js";

/** The generated service with the hot message's own (de)serialisers; members and clients use this one. */
export const cacheService = {
  ...CacheServiceService,
  readRange: {
    ...CacheServiceService.readRange,
    responseSerialize: encodeReadRangeResponse,
    responseDeserialize: decodeReadRangeResponse,
  },
};

export type CacheServiceClient = GeneratedClient;

export const CacheServiceClient = makeGenericClientConstructor(cacheService, "cache.CacheService") as unknown as {
  new (...args: ConstructorParameters<typeof import("./gen/cache.js").CacheServiceClient>): GeneratedClient;
};
