import type { Access, TlsOptions } from "@frontcache/client/members";
import type { Security } from "../security/member-security.js";

/** How a member authenticates itself to the others: by its certificate, its token and the members' key, as they are at the moment. */
export function accessOf(security: Security): Access {
  return {
    tls(): TlsOptions | undefined {
      if (security.tls === undefined) return undefined;
      const { current, serverName } = security.tls;
      const { cert, key, ca } = current;
      return { cert, key, ...(ca !== null && ca !== undefined && { ca }), ...(serverName !== undefined && { serverName }) };
    },
    member: () => security.caller,
    authorization: () => (security.ownToken === undefined ? undefined : `Bearer ${security.ownToken}`),
  };
}
