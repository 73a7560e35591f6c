import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSignedBy, parseAccessKeyToken } from "@frontcache/proto";
import { ManualClock } from "@frontcache/proto/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tokenSource } from "./credentials.js";

const KEY = { accessKeyId: "AKIAEXAMPLE", secretAccessKey: "a secret of an access key" };

const clock = new ManualClock();

describe("a client's credentials", () => {
  it("are none by default, and at most one of three kinds", () => {
    expect(tokenSource({})).toBeUndefined();
    expect(tokenSource({ token: undefined, tokenFile: undefined })).toBeUndefined();
    expect(() => tokenSource({ token: "a-token", tokenFile: "/token" })).toThrow("token and tokenFile exclude each other");
    expect(() => tokenSource({ tokenFile: "/token", accessKey: KEY })).toThrow("tokenFile and accessKey exclude each other");
  });

  it("are refused without being quoted if they are invalid", () => {
    for (const token of ["", "two words", "line\nbreak", "x".repeat(20_000)])
      expect(() => tokenSource({ token })).toThrow(/^the token is invalid: [^\n]+$/);
    for (const accessKey of [
      { ...KEY, accessKeyId: "" },
      { ...KEY, secretAccessKey: "" },
      { ...KEY, accessKeyId: "a b c" },
    ])
      expect(() => tokenSource({ accessKey })).toThrow(/^accessKey is invalid: [^\n]+$/);
  });

  it("may be tokens as long as those of Kubernetes and other issuers", () => {
    const token = `${"x".repeat(4_000)}.y.z`;
    expect(tokenSource({ token })!()).toBe(token);
  });
});

describe("a token file", () => {
  let directory: string;
  let path: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "frontcache-token-"));
    path = join(directory, "token");
  });

  afterEach(() => rmSync(directory, { recursive: true }));

  it("is read again a second later, so that a replaced token is sent", () => {
    writeFileSync(path, "\n first.token.here \nsecond\n");
    const token = tokenSource({ tokenFile: path }, clock)!;
    expect(token()).toBe("first.token.here");
    writeFileSync(path, "another.token.here");
    expect(token()).toBe("first.token.here");
    clock.advance(1_000);
    expect(token()).toBe("another.token.here");
  });

  it("may be missing or invalid for a while after it was read", () => {
    writeFileSync(path, "first.token.here");
    const token = tokenSource({ tokenFile: path }, clock)!;
    token();
    for (const content of ["", "not a token"]) {
      writeFileSync(path, content);
      clock.advance(1_000);
      expect(token()).toBe("first.token.here");
    }
    rmSync(path);
    clock.advance(1_000);
    expect(token()).toBe("first.token.here");
    writeFileSync(path, "another.token.here");
    clock.advance(1_000);
    expect(token()).toBe("another.token.here");
  });

  it("that has never been readable fails each call with the cause, and is read by the next call", () => {
    const token = tokenSource({ tokenFile: path }, clock)!;
    expect(token).toThrow(expect.objectContaining({ code: "UNAVAILABLE", message: `tokenFile ${path} cannot be used: ENOENT` }));
    writeFileSync(path, "not a token");
    expect(token).toThrow(/cannot be used: the token is invalid/);
    writeFileSync(path, "a.token.here");
    expect(token()).toBe("a.token.here");
  });
});

describe("an access key", () => {
  it("signs a token every five minutes", () => {
    const token = tokenSource({ accessKey: KEY }, clock)!;
    const first = token();
    expect(isSignedBy(parseAccessKeyToken(first)!, KEY.secretAccessKey)).toBe(true);
    clock.advance(299_999);
    expect(token()).toBe(first);
    clock.advance(1);
    expect(parseAccessKeyToken(token())!.signedAtMs).toBe(clock.nowMs());
  });

  it("may be replaced by a function", () => {
    let key = KEY;
    const token = tokenSource({ accessKey: () => key }, clock)!;
    token();
    key = { accessKeyId: "AKIAANOTHER", secretAccessKey: "another secret" };
    clock.advance(300_000);
    expect(parseAccessKeyToken(token())!.accessKeyId).toBe("AKIAANOTHER");
  });
});
