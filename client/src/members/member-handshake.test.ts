import { describe, expect, it } from "vitest";
import {
  CallerHandshake,
  type CallingMember,
  type HandshakeOutcome,
  type KeyProof,
  ListenerHandshake,
  MAX_HANDSHAKE_LINE,
  type MemberKey,
  memberKey,
} from "./member-handshake.js";

const OLD = memberKey("old-key-0123456789abcdef0123456789");
const NEW = memberKey("new-key-0123456789abcdef0123456789");

/** A member that connects, and what it learns. */
class Caller implements CallingMember {
  readonly name = "cache-0";
  readonly keys: readonly MemberKey[];
  readonly outcomes: string[] = [];
  expected: string | undefined = "cache-1";

  constructor(...keys: MemberKey[]) {
    this.keys = keys;
  }

  nameAt(): string | undefined {
    return this.expected;
  }

  readonly onConnected = (hostPort: string, outcome: HandshakeOutcome): void => {
    this.outcomes.push(`${hostPort} ${outcome}`);
  };

  begin(): CallerHandshake {
    return new CallerHandshake(this, "m:1");
  }
}

const listenerWith = (...keys: MemberKey[]) => new ListenerHandshake({ name: "cache-1", keys });
const bytes = (text: string) => Buffer.from(text, "latin1");

/** Carries one handshake through; returns what the listener knows at its end. */
function shake(caller: CallerHandshake, listener: ListenerHandshake): KeyProof | undefined {
  const challenge = listener.take(bytes(caller.hello))!;
  const reply = caller.take(bytes(challenge.reply))!;
  return listener.take(bytes(reply))!.end!.proof;
}

describe("the members' handshake", () => {
  it("proves the caller's name to a listener with the same key, and never sends the key", () => {
    const caller = new Caller(NEW);
    const sent: string[] = [];
    const handshake = caller.begin();
    const listener = listenerWith(NEW);
    const challenge = listener.take(bytes(handshake.hello))!.reply;
    const proof = handshake.take(bytes(challenge))!;
    sent.push(handshake.hello, challenge, proof);
    expect(listener.take(bytes(proof))!.end).toEqual({ proof: { name: "cache-0", key: NEW }, rest: Buffer.alloc(0) });
    expect(caller.outcomes).toEqual(["m:1 proven"]);
    for (const line of sent) expect(line).not.toContain(NEW.secret.toString());
  });

  it.each([
    ["the listener has only the old key", [NEW, OLD], [OLD], OLD, "older"],
    ["the caller has only the old key", [OLD], [NEW, OLD], OLD, "proven"],
    ["both have both", [NEW, OLD], [NEW, OLD], NEW, "proven"],
    ["the listener has only the new key", [NEW, OLD], [NEW], NEW, "proven"],
  ] as const)("works during the replacement of a key: %s", (_, theirs, ours, used, outcome) => {
    const caller = new Caller(...theirs);
    expect(shake(caller.begin(), listenerWith(...ours))).toEqual({ name: "cache-0", key: used });
    expect(caller.outcomes).toEqual([`m:1 ${outcome}`]);
  });

  it.each([
    ["another key", [OLD]],
    ["no key", []],
  ])("proves nothing to a listener with %s, and continues", (_, keys) => {
    const caller = new Caller(NEW);
    expect(shake(caller.begin(), listenerWith(...keys))).toBeUndefined();
    expect(caller.outcomes).toEqual(["m:1 unknown"]);
  });

  it("rejects a caller that knows the key's id but not the key", () => {
    const caller = new Caller({ id: NEW.id, secret: OLD.secret });
    const listener = listenerWith(NEW);
    const challenge = listener.take(bytes(caller.begin().hello))!.reply;
    const fake = `${Buffer.alloc(32).toString("base64url")}\n`;
    expect(() => listener.take(bytes(fake))).toThrow("it claims to be the member cache-0 and does not know the members' key");
    expect(() => caller.begin().take(bytes(challenge))).toThrow("it does not know the members' key");
  });

  it("rejects a proof that was recorded on another connection", () => {
    const recorded = new Caller(NEW).begin();
    const first = listenerWith(NEW);
    const proof = recorded.take(bytes(first.take(bytes(recorded.hello))!.reply))!;
    const second = listenerWith(NEW);
    second.take(bytes(recorded.hello));
    expect(() => second.take(bytes(proof))).toThrow("does not know the members' key");
  });

  it("rejects the listener's own challenge as a proof", () => {
    const listener = listenerWith(NEW);
    const { reply } = listener.take(bytes(new Caller(NEW).begin().hello))!;
    expect(() => listener.take(bytes(`${reply.trim().split(" ").at(-1)}\n`))).toThrow("does not know the members' key");
  });

  it("rejects a listener that is not the expected member of its address", () => {
    const caller = new Caller(NEW);
    caller.expected = "cache-2";
    expect(() => shake(caller.begin(), listenerWith(NEW))).toThrow("it is the member cache-1, not cache-2");
    caller.expected = undefined;
    expect(shake(caller.begin(), listenerWith(NEW))).toMatchObject({ name: "cache-0" });
  });

  it("accepts lines in any pieces, and returns the bytes after the proof", () => {
    const handshake = new Caller(NEW).begin();
    const listener = listenerWith(NEW);
    const half = handshake.hello.length >> 1;
    expect(listener.take(bytes(handshake.hello.slice(0, half)))).toBeUndefined();
    const challenge = listener.take(bytes(handshake.hello.slice(half)))!.reply;
    let proof: string | undefined;
    for (const character of challenge) proof = handshake.take(bytes(character));
    expect(listener.take(bytes(`${proof}GET /`))!.end!.rest.toString()).toBe("GET /");
  });

  it.each([
    ["a line without fields", "frontcache-member/1\n"],
    ["another version", "frontcache-member/2 bmFtZQ nonce id\n"],
    ["too many fields", "frontcache-member/1 bmFtZQ nonce id more\n"],
    ["a line that is too long", `frontcache-member/1 ${"a".repeat(MAX_HANDSHAKE_LINE)}\n`],
    ["a line without an end", "a".repeat(MAX_HANDSHAKE_LINE + 1)],
  ])("rejects %s", (_, text) => {
    expect(() => listenerWith(NEW).take(bytes(text))).toThrow(/members' handshake/);
    expect(() => new Caller(NEW).begin().take(bytes(text))).toThrow(/members' handshake/);
  });

  it("rejects bytes of a listener that sends too early", () => {
    const handshake = new Caller(NEW).begin();
    const { reply } = listenerWith(NEW).take(bytes(handshake.hello))!;
    expect(() => handshake.take(bytes(`${reply}HTTP/1.1 200`))).toThrow("it sent more than the members' handshake");
  });

  it.each([
    ["frontcache-member/1 x", true],
    ["front", true],
    ["GET /s3/bucket/key HTTP/1.1", false],
    ["PRI * HTTP/2.0", false],
    ["frontcache-members", false],
  ])("is recognized by its first bytes: %j", (text, expected) => {
    expect(ListenerHandshake.begins(bytes(text))).toBe(expected);
  });
});
