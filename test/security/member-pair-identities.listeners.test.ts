import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import type { ClusterReport } from "@frontcache/server/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rampBytes } from "../emulators/s3.js";
import { PairUnderTest } from "./member-pair.js";

const KEY = "key-of-the-members-0123456789abcdef";
const TOKENS = { ada: "token-of-ada-0123456789", ops: "token-of-ops-0123456789" };
const OBJECTS = 8;
const BYTES = 1_000;

const hashed = (token: string): string => createHash("sha256").update(token).digest("hex");

const IDENTITIES = `
identities:
  - { name: ada, tokens: ${hashed(TOKENS.ada)} }
  - { name: ops, tokens: ${hashed(TOKENS.ops)} }
grants:
  - { to: ada, operations: [read, list], buckets: s3://bucket, prefixes: public/ }
  - { to: ops, operations: status }
`;

let pair: PairUnderTest;

beforeEach(async () => {
  pair = await PairUnderTest.open();
});

afterEach(() => pair[Symbol.asyncDispose]());

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

describe("members with an identities file", () => {
  it("serve what is granted through any member, forwarded or not, and report to each other", async () => {
    const identitiesFile = pair.path("identities.yaml");
    const keyFile = pair.path("key");
    writeFileSync(identitiesFile, IDENTITIES);
    writeFileSync(keyFile, `${KEY}\n`);
    const flags = ["--identities-file", identitiesFile, "--members-key-file", keyFile];
    await pair.start(() => flags);
    for (let object = 0; object < OBJECTS; object++) pair.origin.putRamp("bucket", `public/${object}`, BYTES, object);
    pair.origin.putRamp("bucket", "private", BYTES, 1);
    for (const { http } of pair.members) {
      for (let object = 0; object < OBJECTS; object++) {
        const answer = await fetch(`http://${http}/s3/bucket/public/${object}`, bearer(TOKENS.ada));
        expect([answer.status, Buffer.from(await answer.arrayBuffer()).equals(rampBytes(0, BYTES, object))]).toEqual([200, true]);
      }
      const forwarding = { ...bearer(TOKENS.ada).headers, "frontcache-forwarded": "1" };
      expect((await fetch(`http://${http}/s3/bucket/private`, { headers: forwarding })).status).toBe(403);
      expect((await fetch(`http://${http}/s3/bucket/public/0`)).status).toBe(403);
      expect((await fetch(`http://${http}/status`, bearer(TOKENS.ada))).status).toBe(403);
      // On a busy machine, a report may take longer than it is waited for.
      const states = async (): Promise<string[]> => {
        const report = (await (await fetch(`http://${http}/status`, bearer(TOKENS.ops))).json()) as ClusterReport;
        return report.members.map(({ state }) => state);
      };
      await expect.poll(states, { timeout: 60_000 }).toEqual(["ready", "ready"]);
    }
  });

  it("do not start if an address alone would prove a member", async () => {
    const identitiesFile = pair.path("identities.yaml");
    writeFileSync(identitiesFile, IDENTITIES);
    await expect(pair.start(() => ["--identities-file", identitiesFile])).rejects.toThrow(
      "--identities-file requires that members prove themselves: set --members-key-file",
    );
  });
});
