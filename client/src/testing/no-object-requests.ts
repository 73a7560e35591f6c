import { CacheError } from "@frontcache/proto";
import type { ObjectRequests } from "../members/http/object-requests.js";

/** Fails every write and listing, for tests of reads. */
export const noObjectRequests: ObjectRequests = {
  send: async ({ grpcAddress }) => {
    throw new CacheError("INTERNAL", `${grpcAddress}: this test neither writes nor lists`);
  },
  exchange: async ({ grpcAddress }) => {
    throw new CacheError("INTERNAL", `${grpcAddress}: this test has no values`);
  },
  close: async () => {},
};
