import { eventually, ManualClock } from "@frontcache/proto/testing";
import { describe, expect, it } from "vitest";
import { MemberAddresses } from "./member-addresses.js";

/** A name server whose answers can change; a name without addresses can't be resolved. */
class NameServer {
  readonly names = new Map<string, string[]>();

  readonly resolve = async (name: string): Promise<string[]> => {
    const found = this.names.get(name);
    if (found === undefined) throw new Error(`${name} not found`);
    return found;
  };
}

describe("the addresses of the other members", () => {
  it.each([
    ["10.0.0.7", "10.0.0.7"],
    ["10.0.0.7", "::ffff:10.0.0.7"],
    ["10.0.0.7", "::FFFF:0a00:0007"],
    ["2001:DB8:0:0::1", "2001:db8::1"],
    ["127.0.0.2", "127.0.0.1"],
    ["::1", "::ffff:127.0.0.1"],
  ])("%s in the list is the peer %s", (listed, peer) => {
    const addresses = new MemberAddresses(new ManualClock());
    expect(addresses.has(peer)).toBe(false);
    addresses.follow(() => [listed]);
    expect(addresses.has(peer)).toBe(true);
    expect(addresses.has("10.0.0.8")).toBe(false);
  });

  it("follow the member list, and change the revision only with the addresses", () => {
    const addresses = new MemberAddresses(new ManualClock());
    let hosts = ["10.0.0.7"];
    addresses.follow(() => hosts);
    const first = addresses.revision;
    addresses.refresh();
    expect(addresses.revision).toBe(first);
    hosts = ["10.0.0.8"];
    addresses.refresh();
    expect(addresses.revision).toBeGreaterThan(first);
    expect([addresses.has("10.0.0.7"), addresses.has("10.0.0.8")]).toEqual([false, true]);
  });

  it("are forgotten when the list no longer remembers a member, without a change of the list", () => {
    const clock = new ManualClock();
    const addresses = new MemberAddresses(clock);
    const hosts = ["10.0.0.7"];
    addresses.follow(() => hosts);
    hosts.pop();
    clock.advance(5_000);
    expect(addresses.has("10.0.0.7")).toBe(false);
  });

  it("include those of host names, resolved again and again", async () => {
    const clock = new ManualClock();
    const server = new NameServer();
    const addresses = new MemberAddresses(clock, server.resolve);
    server.names.set("cache-1.cache", ["10.0.0.7", "fd00::7"]);
    addresses.follow(() => ["cache-0.cache", "cache-1.cache"]);
    await eventually(() => expect([addresses.has("10.0.0.7"), addresses.has("fd00::7")]).toEqual([true, true]));
    server.names.set("cache-0.cache", ["10.0.0.6"]);
    server.names.set("cache-1.cache", ["10.0.0.9"]);
    clock.advance(5_000);
    await eventually(() => expect([addresses.has("10.0.0.6"), addresses.has("10.0.0.9")]).toEqual([true, true]));
    expect(addresses.has("10.0.0.7")).toBe(false);
    server.names.delete("cache-1.cache");
    clock.advance(5_000);
    await addresses.close();
    expect(addresses.has("10.0.0.9")).toBe(true);
    expect(clock.waits).toBe(0);
  });
});
