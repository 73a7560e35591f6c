import { describe, expect, it } from "vitest";
import { domains, formatHostPort, hostName, listenPort, members, orNone, remoteAddress } from "./addresses.js";

describe("an address", () => {
  it.each([
    ["0.0.0.0:8080", "0.0.0.0", 8080],
    ["localhost:0", "localhost", 0],
    ["[::1]:8080", "::1", 8080],
    ["[::]:65535", "::", 65535],
    ["cache-0.cache.svc:1", "cache-0.cache.svc", 1],
  ])("is parsed from %s and formatted back", (text, host, port) => {
    expect(listenPort.parse(text)).toEqual({ host, port });
    expect(formatHostPort({ host, port })).toBe(text);
  });

  it.each([
    "",
    "8080",
    ":8080",
    "localhost",
    "localhost:",
    "::1:8080",
    "host:65536",
    "host:-1",
    "a b:80",
    "http://host:80",
    "host:80/x",
  ])("is rejected: %j", (text) => {
    expect(() => listenPort.parse(text)).toThrow(/^"[^\n]*" is not an address: use host:port/);
  });

  it("to connect to needs a port other than 0", () => {
    expect(() => remoteAddress.parse("host:0")).toThrow("a port from 1 to 65535");
  });
});

describe("a host", () => {
  it.each([
    ["10.0.0.7", "10.0.0.7"],
    ["cache-0.cache", "cache-0.cache"],
    ["::1", "::1"],
    ["[fe80::1%eth0]", "fe80::1%eth0"],
  ])("is parsed from %s", (text, host) => {
    expect(hostName.parse(text)).toBe(host);
  });

  it.each(["", "host:80", "a b", "host/x", "a,b"])("is rejected: %j", (text) => {
    expect(() => hostName.parse(text)).toThrow("is not a host");
  });
});

describe("a static member list", () => {
  it("contains each member with its addresses", () => {
    expect(members.parse("a=127.0.0.1:9001/9101, b=[::1]:9002,c=host:9003")).toEqual([
      { name: "a", grpcAddress: "127.0.0.1:9001", httpAddress: "127.0.0.1:9101" },
      { name: "b", grpcAddress: "[::1]:9002" },
      { name: "c", grpcAddress: "host:9003" },
    ]);
  });

  it("may be empty", () => {
    expect(members.parse("")).toEqual([]);
  });

  it.each(["a", "a=", "=host:1", "a=host", "a=host:0", "a=host:1/", "a=host:1/70000", "a=host:1,,b=host:2"])(
    "is rejected: %j",
    (text) => {
      expect(() => members.parse(text)).toThrow(/is not an? (member|address): use /);
    },
  );

  it("is rejected if a name occurs twice", () => {
    expect(() => members.parse("a=h:1,a=h:2")).toThrow("the member a appears twice");
  });
});

describe("the domains of the S3 endpoint", () => {
  it("are DNS names in lower case, separated by commas", () => {
    expect(domains.parse("")).toEqual([]);
    expect(domains.parse("S3.example.com, localhost")).toEqual(["s3.example.com", "localhost"]);
  });

  it.each(["s3.example.com:9000", "*.example.com", "a..b", "-a", "a,", ".a"])("are not %s", (text) => {
    expect(() => domains.parse(text)).toThrow(/is not a domain: use a DNS name/);
  });
});

it("an address of a listener may be none where the listener can be missing", () => {
  expect(orNone(listenPort).parse("none")).toBe("none");
  expect(orNone(listenPort).parse("[::]:0")).toEqual({ host: "::", port: 0 });
});
