import dns from "node:dns";
import { afterEach, describe, expect, it, vi } from "vitest";
import { CacheClient } from "./cache-client.js";
import { ramp } from "./testing/ramp.js";
import { type MemberScript, ScriptedMember, sendRamp } from "./testing/scripted-member.js";

const NAME = "cache.example";
const url = "s3://bucket/file";
const script: MemberScript = { readRange: (call) => sendRamp(call, 10_000) };

/** The addresses of NAME. */
let addresses: string[] = [];
let members: ScriptedMember[] = [];

/** Resolves NAME to `addresses`, in both ways by which sockets and gRPC resolve names. Other names are resolved as always. */
function fakeResolver(): void {
  const { lookup } = dns;
  const { lookup: lookupLater } = dns.promises;
  const all = (): dns.LookupAddress[] => addresses.map((address) => ({ address, family: 4 }));
  const fake = (name: string, ...rest: [dns.LookupOptions, (...result: unknown[]) => void]): void => {
    const [options, callback] = rest;
    if (name !== NAME) (lookup as (...call: unknown[]) => void)(name, ...rest);
    else setImmediate(() => (options.all === true ? callback(null, all()) : callback(null, addresses[0], 4)));
  };
  const fakeLater = async (name: string, options: dns.LookupOptions): Promise<unknown> =>
    name === NAME ? all() : lookupLater(name, options);
  vi.spyOn(dns, "lookup").mockImplementation(fake as never);
  vi.spyOn(dns.promises, "lookup").mockImplementation(fakeLater as never);
}

async function startMember(host: string, port: number): Promise<ScriptedMember> {
  const member = await ScriptedMember.start(script, `${host}:${port}`);
  members.push(member);
  return member;
}

afterEach(async () => {
  vi.restoreAllMocks();
  for (const member of members.splice(0)) await member.kill();
});

describe("an endpoint's name", () => {
  it("may have several addresses, of which one answers, and is resolved again when its members have moved", async () => {
    fakeResolver();
    // Loopback addresses that no other test uses.
    const before = await startMember("127.9.0.2", 0);
    const port = Number(before.address.split(":")[1]);
    addresses = ["127.9.0.9", "127.9.0.2"];
    await using client = await CacheClient.connect({ endpoint: `${NAME}:${port}`, connectTimeoutMs: 60_000 });
    expect((await client.readRange(url, 0, 1_000)).equals(ramp(0, 1_000))).toBe(true);
    await startMember("127.9.0.3", port);
    addresses = ["127.9.0.3"];
    await before.kill();
    members = members.filter((member) => member !== before);
    expect((await client.readRange(url, 5, 1_000)).equals(ramp(5, 1_000))).toBe(true);
  });
});
