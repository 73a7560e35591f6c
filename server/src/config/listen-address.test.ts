import { describe, expect, it } from "vitest";
import { endpointAddress } from "./addresses.js";
import { fileMode, formatListenAddress, listenAddress } from "./listen-address.js";

const LONGEST = `unix:/${"a".repeat(98)}`;

describe("the address of a listener", () => {
  it.each([
    ["[::]:8080", { tcp: { host: "::", port: 8080 } }],
    ["unix:/run/frontcache/grpc.sock", { socketPath: "/run/frontcache/grpc.sock" }],
    ["127.0.0.1:0,unix:/tmp/a", { tcp: { host: "127.0.0.1", port: 0 }, socketPath: "/tmp/a" }],
    [LONGEST, { socketPath: LONGEST.slice("unix:".length) }],
  ])("is parsed from %s and formatted back", (text, address) => {
    expect(listenAddress.parse(text)).toEqual(address);
    expect(formatListenAddress(address)).toBe(text);
  });

  it.each([
    "",
    "unix:",
    "unix:relative",
    "unix:/a b",
    "unix:/a\tb",
    `${LONGEST}a`,
    "unix:/a,unix:/b",
    "a:1,b:2",
    "a:1,",
    "/run/a",
  ])("is rejected: %j", (text) => {
    expect(() => listenAddress.parse(text)).toThrow(/is not (an address|an address of a listener|a Unix socket): use /);
  });

  it.each(["unix:@abstract", `unix:/${"a".repeat(107)}`, "unix:relative.sock"])(
    "%s is refused with what a path must be",
    (text) => {
      const expected = "is not a Unix socket: use unix: and an absolute path without blanks and commas, of at most 99 bytes";
      expect(() => listenAddress.parse(text)).toThrow(expected);
    },
  );
});

describe("an endpoint", () => {
  it.each(["localhost:8080", "[::1]:8080", "unix:/run/frontcache/grpc.sock"])("is an address to connect to: %s", (text) => {
    expect(endpointAddress.parse(text)).toBe(text);
  });

  it.each(["localhost", "localhost:0", "localhost:70000", "unix:", `${LONGEST}a`])("is not %s", (text) => {
    expect(() => endpointAddress.parse(text)).toThrow(/is not an address: use host:port/);
  });
});

describe("the permissions of a file", () => {
  it("are octal digits", () => {
    expect(["660", "0600", "777"].map((text) => fileMode.parse(text))).toEqual([0o660, 0o600, 0o777]);
  });

  it.each(["", "66", "1660", "rw", "668"])("are not %j", (text) => {
    expect(() => fileMode.parse(text)).toThrow("is not a file mode: use three octal digits");
  });
});
