import type { Authorization } from "../security/grants/authorization.js";
import type { Operation } from "../security/grants/grants.js";
import { parseValueUrl, type ValueRequest, type Values } from "../values/values.js";

/** Checks the grants of a principal before values are asked. The same rules as those of objects hold. */
export function authorizedValues(authorization: Authorization): (next: Values) => Values {
  const check = ({ url, principal }: Pick<ValueRequest, "url" | "principal">, operation: Operation): void => {
    const ref = parseValueUrl(url);
    authorization.check(principal, operation, { bucket: ref, prefix: ref.key }, url);
  };
  const checkKeys = ({ bucket, prefix, principal }: Parameters<Values["list"]>[0]): void => {
    authorization.check(principal, "list", { bucket: { scheme: "cache", bucket }, prefix }, `cache://${bucket}/${prefix}`);
  };
  return (next) => ({
    put: async (request, body) => {
      check(request, "write");
      return next.put(request, body);
    },
    open: (request) => {
      check(request, "read");
      return next.open(request);
    },
    head: async (request) => {
      check(request, "read");
      return next.head(request);
    },
    delete: async (request) => {
      check(request, "delete");
      return next.delete(request);
    },
    list: async (request) => {
      checkKeys(request);
      return next.list(request);
    },
    begin: async (request) => {
      check(request, "write");
      return next.begin(request);
    },
    writeRange: async (request, offset, bytes) => {
      check(request, "write");
      return next.writeRange(request, offset, bytes);
    },
    completion: async (request) => {
      check(request, "write");
      return next.completion(request);
    },
    finalize: async (request) => {
      check(request, "write");
      return next.finalize(request);
    },
    abort: async (request) => {
      check(request, "write");
      return next.abort(request);
    },
    lock: async (request) => {
      check(request, "write");
      return next.lock(request);
    },
    unlock: async (request) => {
      check(request, "write");
      return next.unlock(request);
    },
    monitor: (request) => {
      checkKeys({ ...request, after: "", limit: 1 });
      return next.monitor(request);
    },
    stats: () => next.stats(),
  });
}
