import { describe, expect, it } from "vitest";
import { proxiesOf } from "./way.js";

const environment = { HTTPS_PROXY: "http://proxy:3128", https_proxy: "", HTTP_PROXY: "plain:8080" };

function proxyOf(target: string, noProxy = ""): string | undefined {
  return proxiesOf({ ...environment, NO_PROXY: noProxy })(new URL(target))?.host;
}

describe("the proxy for a target", () => {
  it("is that of its protocol, and none without the environment's variables", () => {
    expect(proxyOf("https://s3.amazonaws.com")).toBe("proxy:3128");
    expect(proxyOf("http://minio:9000")).toBe("plain:8080");
    expect(proxiesOf({})(new URL("https://s3.amazonaws.com"))).toBeUndefined();
    expect(proxiesOf({ https_proxy: "http://lower" })(new URL("https://host"))?.host).toBe("lower");
  });

  it.each([
    ["*", "https://anything"],
    ["minio", "http://minio:9000"],
    ["a, example.com", "https://example.com"],
    ["example.com", "https://bucket.example.com"],
    [".example.com", "https://bucket.example.com"],
    ["*.example.com", "https://bucket.example.com"],
    ["EXAMPLE.com:443", "https://example.com"],
    ["10.0.0.0/8", "http://10.1.2.3:9000"],
    ["10.1.2.3", "http://10.1.2.3:9000"],
    ["fd00::/8", "http://[fd00::1]:9000"],
    ["[fd00::1]:9000", "http://[fd00::1]:9000"],
    ["::1", "http://[::1]:9000"],
  ])("is none by NO_PROXY=%s for %s", (noProxy, target) => {
    expect(proxyOf(target, noProxy)).toBeUndefined();
  });

  it.each([
    ["example.com", "https://badexample.com"],
    ["example.com:80", "https://example.com"],
    ["10.0.0.0/8", "https://11.0.0.1"],
    ["10.0.0.0/99", "https://10.0.0.1"],
    ["0.0.1", "https://10.0.0.1"],
    ["fd00::/8", "https://10.0.0.1"],
    [".", "https://example.com"],
  ])("is used in spite of NO_PROXY=%s for %s", (noProxy, target) => {
    expect(proxyOf(target, noProxy)).toBe("proxy:3128");
  });

  it.each(["socks5://proxy", "http://", "://"])(
    "is an error without its value if the variable is no URL of a proxy (%s)",
    (value) => {
      expect(() => proxiesOf({ HTTPS_PROXY: value })).toThrow(/^HTTPS_PROXY is not a URL of a proxy: use http:\/\/host:port$/);
    },
  );
});
