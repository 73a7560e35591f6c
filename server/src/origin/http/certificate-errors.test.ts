import { CacheError } from "@frontcache/proto";
import { describe, expect, it } from "vitest";
import { isTlsFailure } from "./certificate-errors.js";

const withCode = (code: string): Error => Object.assign(new Error("failed"), { code });

describe("a failure of TLS", () => {
  it.each([
    "SELF_SIGNED_CERT_IN_CHAIN",
    "CERT_HAS_EXPIRED",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "EPROTO",
    "ERR_SSL_WRONG_VERSION_NUMBER",
  ])("is recognized by its code %s, behind other errors too", (code) => {
    expect(isTlsFailure(withCode(code))).toBe(true);
    expect(isTlsFailure(new CacheError("UNAVAILABLE", "the origin cannot be reached", { cause: withCode(code) }))).toBe(true);
  });

  it.each([withCode("ECONNREFUSED"), new Error("failed"), undefined, "EPROTO"])("is not %s", (error) => {
    expect(isTlsFailure(error)).toBe(false);
  });
});
