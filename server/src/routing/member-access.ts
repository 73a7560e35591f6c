import type { Access, TlsOptions } from "@frontcache/client/members";
import type { Security } from "../security/member-security.js";

/** How a member authenticates itself to the others: by its own certificate and by its own token, as both are at the moment. */
export function accessOf(security: Security): Access {
  return {
    tls(): TlsOptions | undefined {
      if (security.tls === undefined) return undefined;
      const { current, serverName } = security.tls;
      const { cert, key, ca } = current;
      return { cert, key, ...(ca !== null && ca !== undefined && { ca }), ...(serverName !== undefined && { serverName }) };
    },
    authorization: () => (security.tokens === undefined ? undefined : `Bearer ${security.tokens.own}`),
  };
}
