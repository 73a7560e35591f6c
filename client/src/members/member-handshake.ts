import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * The handshake in which a member proves its identity with a key that all members share and that is never sent. It precedes
 * everything else on a connection (inside TLS, if used), so requests cost nothing more, and any protocol can follow:
 *
 * 1. caller:   `frontcache-member/1 <caller's name> <nonce> <ids of its keys>`
 * 2. listener: `frontcache-member/1 <listener's name> <nonce> <id of a common key> <MAC>`, or `frontcache-member/1 unknown`
 * 3. caller:   `<MAC>`, or `unproven`, and then its first request
 *
 * Each line ends with LF; names are base64url of UTF-8. Each MAC is HMAC-SHA256 by the chosen key over the sender's role, line 1,
 * and line 2 up to its MAC. Both nonces belong to this connection, so nothing can be replayed on another one. Both names are
 * included, so a listener cannot pass a proof on to another listener. The roles differ, so a proof cannot be sent back.
 */
const HANDSHAKE_PREFIX = "frontcache-member/1";

const UNKNOWN = `${HANDSHAKE_PREFIX} unknown`;
const UNPROVEN = "unproven";
const NONCE_BYTES = 24;
const ID_LENGTH = 12;

/** Maximum length of a line of the handshake. */
export const MAX_HANDSHAKE_LINE = 2_048;

/** A key that members share. */
export interface MemberKey {
  /** Identifies the key without revealing it. */
  readonly id: string;
  readonly secret: Buffer;
}

/** Derives the key from its text. */
export function memberKey(text: string): MemberKey {
  const secret = Buffer.from(text);
  return { id: mac(secret, "id", "").slice(0, ID_LENGTH), secret };
}

/** The result of the handshake. `older`: proven with a key that is not the caller's first. */
export type HandshakeOutcome = "proven" | "older" | "unknown";

/** The identity of a connecting member. */
export interface CallingMember {
  readonly name: string;
  /** At least one key, the preferred one first. */
  readonly keys: readonly MemberKey[];
  /** Returns the name of the member at `host:port`; undefined: unknown. */
  nameAt(hostPort: string): string | undefined;
  /** Called for each connection. If the key was unknown, its requests are treated as a client's. */
  onConnected(hostPort: string, outcome: HandshakeOutcome): void;
}

/** The caller's side of one connection's handshake. Its methods throw an Error if the listener is not the expected member. */
export class CallerHandshake {
  /** The first line to send. */
  readonly hello: string;
  readonly #member: CallingMember;
  readonly #hostPort: string;
  readonly #lines = new LineReader();

  constructor(member: CallingMember, hostPort: string) {
    const { name, keys } = member;
    this.#member = member;
    this.#hostPort = hostPort;
    this.hello = `${HANDSHAKE_PREFIX} ${encodeName(name)} ${newNonce()} ${keys.map(({ id }) => id).join(",")}\n`;
  }

  /** Takes received bytes. Returns the line to send before the first request; undefined: more bytes are needed. */
  take(bytes: Buffer): string | undefined {
    const line = this.#lines.take(bytes);
    if (line === undefined) return undefined;
    if (this.#lines.rest.length > 0) throw new Error("it sent more than the members' handshake");
    return this.#answer(line);
  }

  #answer(line: string): string {
    const { keys, onConnected } = this.#member;
    if (line === UNKNOWN) {
      onConnected(this.#hostPort, "unknown");
      return `${UNPROVEN}\n`;
    }
    const [prefix, encodedName = "", nonce, id, proof = "", ...more] = line.split(" ");
    const key = keys.find((each) => each.id === id);
    if (prefix !== HANDSHAKE_PREFIX || nonce === undefined || key === undefined || more.length > 0) {
      throw new Error("it does not speak the members' handshake");
    }
    const transcript = `${this.hello}${prefix} ${encodedName} ${nonce} ${id}`;
    if (!isEqual(proof, mac(key.secret, "listener", transcript))) throw new Error("it does not know the members' key");
    const name = decodeName(encodedName);
    const expected = this.#member.nameAt(this.#hostPort);
    if (expected !== undefined && name !== expected) throw new Error(`it is the member ${name}, not ${expected}`);
    onConnected(this.#hostPort, key === keys[0] ? "proven" : "older");
    return `${mac(key.secret, "caller", transcript)}\n`;
  }
}

/** The identity of a listening member. */
export interface ListeningMember {
  readonly name: string;
  /** Empty: members do not use keys. */
  readonly keys: readonly MemberKey[];
}

/** The proof of a caller. */
export interface KeyProof {
  readonly name: string;
  readonly key: MemberKey;
}

/** The listener's side. Its methods throw an Error if the caller breaks the protocol or its proof is wrong. */
export class ListenerHandshake {
  readonly #member: ListeningMember;
  readonly #lines = new LineReader();
  /** After the challenge: the expected next line of the caller, and what it proves. */
  #expected: { readonly line: string; readonly proof: KeyProof | undefined } | undefined;

  constructor(member: ListeningMember) {
    this.#member = member;
  }

  /** Returns whether the first bytes of a connection, even if few, can only be those of a handshake. */
  static begins(bytes: Buffer): boolean {
    const length = Math.min(bytes.length, HANDSHAKE_PREFIX.length);
    return bytes.toString("latin1", 0, length) === HANDSHAKE_PREFIX.slice(0, length);
  }

  /** Takes received bytes. Returns the next step; undefined: more bytes are needed. */
  take(bytes: Buffer): ListenerStep | undefined {
    const line = this.#lines.take(bytes);
    if (line === undefined) return undefined;
    return this.#expected === undefined ? this.#challenge(line) : this.#verify(line);
  }

  #challenge(hello: string): ListenerStep {
    const { name, keys } = this.#member;
    const [prefix, caller = "", nonce, ids, ...more] = hello.split(" ");
    const isComplete = nonce !== undefined && ids !== undefined && more.length === 0;
    if (prefix !== HANDSHAKE_PREFIX || !isComplete || this.#lines.rest.length > 0) {
      throw new Error("it does not speak the members' handshake");
    }
    const offered = new Set(ids.split(","));
    const key = keys.find(({ id }) => offered.has(id));
    if (key === undefined) {
      this.#expected = { line: UNPROVEN, proof: undefined };
      return { reply: `${UNKNOWN}\n`, end: undefined };
    }
    const challenge = `${HANDSHAKE_PREFIX} ${encodeName(name)} ${newNonce()} ${key.id}`;
    const transcript = `${hello}\n${challenge}`;
    const proof = { name: decodeName(caller), key };
    this.#expected = { line: mac(key.secret, "caller", transcript), proof };
    return { reply: `${challenge} ${mac(key.secret, "listener", transcript)}\n`, end: undefined };
  }

  #verify(line: string): ListenerStep {
    const { proof, line: expected } = this.#expected!;
    if (!isEqual(line, expected)) {
      if (proof === undefined) throw new Error("it does not speak the members' handshake");
      throw new Error(`it claims to be the member ${proof.name} and does not know the members' key`);
    }
    return { reply: "", end: { proof, rest: this.#lines.rest } };
  }
}

/** The listener's next step: a line to send, or the result of the handshake. */
export interface ListenerStep {
  readonly reply: string;
  /** `proof` undefined: the members' keys differ. `rest`: bytes after the handshake. */
  readonly end: { readonly proof: KeyProof | undefined; readonly rest: Buffer } | undefined;
}

/** Assembles lines of bounded length. */
class LineReader {
  /** Bytes after the last line. */
  rest: Buffer = Buffer.alloc(0);

  /** Returns the next line without its end from the remaining and these bytes; undefined: it is incomplete. */
  take(bytes: Buffer): string | undefined {
    const all = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    const end = all.indexOf("\n");
    this.rest = all.subarray(end + 1);
    if (end > MAX_HANDSHAKE_LINE || (end < 0 && all.length > MAX_HANDSHAKE_LINE)) {
      throw new Error("a line of the members' handshake is too long");
    }
    return end < 0 ? undefined : all.toString("latin1", 0, end);
  }
}

function newNonce(): string {
  return randomBytes(NONCE_BYTES).toString("base64url");
}

function mac(secret: Buffer, role: string, transcript: string): string {
  return createHmac("sha256", secret).update(`${HANDSHAKE_PREFIX} ${role}\n${transcript}`).digest("base64url");
}

function isEqual(sent: string, expected: string): boolean {
  const [a, b] = [Buffer.from(sent), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function encodeName(name: string): string {
  return Buffer.from(name).toString("base64url");
}

function decodeName(encoded: string): string {
  return Buffer.from(encoded, "base64url").toString();
}
