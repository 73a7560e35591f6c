import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { accessOptions } from "./access-options.js";
import { UsageError } from "./exit-code.js";

let directory: string;
let file: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "frontcache-access-"));
  file = join(directory, "token");
  writeFileSync(file, `${"x".repeat(1_200)}.y.z\n`);
});

afterEach(() => rmSync(directory, { recursive: true }));

const KEY = { FRONTCACHE_ACCESS_KEY_ID: "AKIAEXAMPLE", FRONTCACHE_SECRET_ACCESS_KEY: "a-secret" };

describe("the credentials of a command", () => {
  it("are none by default", () => {
    expect(accessOptions({}, {})).toEqual({});
  });

  it("are a token file, a token or an access key, in this order", () => {
    const byFile = { FRONTCACHE_AUTH_TOKEN_FILE: file };
    expect(accessOptions({ authTokenFile: file }, { FRONTCACHE_AUTH_TOKEN_FILE: "/nowhere" })).toEqual({ tokenFile: file });
    expect(accessOptions({}, { ...byFile, FRONTCACHE_TOKEN: "a-token", ...KEY })).toEqual({ tokenFile: file });
    expect(accessOptions({}, { FRONTCACHE_TOKEN: "a-token", ...KEY })).toEqual({ token: "a-token" });
    const accessKey = { accessKeyId: "AKIAEXAMPLE", secretAccessKey: "a-secret" };
    expect(accessOptions({}, { FRONTCACHE_TOKEN: "", ...KEY })).toEqual({ accessKey });
    const session = { ...KEY, FRONTCACHE_SESSION_TOKEN: "session" };
    expect(accessOptions({}, session)).toEqual({ accessKey: { ...accessKey, sessionToken: "session" } });
  });

  it("are refused before anything is sent if they cannot be used", () => {
    const refused = (text: string) => expect.objectContaining({ message: expect.stringContaining(text) });
    expect(() => accessOptions({ authTokenFile: "/nowhere" }, {})).toThrow(refused("--auth-token-file: /nowhere cannot be used"));
    writeFileSync(file, "two words");
    expect(() => accessOptions({}, { FRONTCACHE_AUTH_TOKEN_FILE: file })).toThrow(refused("FRONTCACHE_AUTH_TOKEN_FILE: "));
    expect(() => accessOptions({}, { FRONTCACHE_ACCESS_KEY_ID: "AKIAEXAMPLE" })).toThrow(UsageError);
  });
});
