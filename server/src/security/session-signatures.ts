import { createHmac, timingSafeEqual } from "node:crypto";
import type { MemberKey } from "@frontcache/client/members";

/** An upload session of an object store, as its address at this endpoint names it. */
export interface NamedSession {
  /** The URL of the object that the session writes. */
  readonly url: string;
  /** The name of the principal that began it. */
  readonly principal: string;
  /** The store's id of the session. */
  readonly id: string;
}

/** Another use of the members' key has another purpose, so that no proof of one is valid for the other. */
const PURPOSE = "frontcache-upload-session/1";

/**
 * Signs the addresses of upload sessions with the members' first key, and verifies them with each of their keys. The store's id says
 * nothing about the object that the session writes, so that a grant on the object in an unsigned address proves nothing.
 */
export class SessionSignatures {
  readonly #keys: () => readonly MemberKey[];

  /** `keys`: at least one, the preferred one first. */
  constructor(keys: () => readonly MemberKey[]) {
    this.#keys = keys;
  }

  sign(session: NamedSession): string {
    const key = this.#keys()[0]!;
    return `${key.id}.${macOf(key, session).toString("base64url")}`;
  }

  /** `unknown`: the session has no signature by a key that members have now. */
  verify(signature: string | undefined, session: NamedSession): "valid" | "wrong" | "unknown" {
    const [, id, mac = ""] = /^([\w-]+)\.([\w-]+)$/.exec(signature ?? "") ?? [];
    const key = this.#keys().find((each) => each.id === id);
    if (key === undefined) return "unknown";
    const [sent, expected] = [Buffer.from(mac, "base64url"), macOf(key, session)];
    return sent.length === expected.length && timingSafeEqual(sent, expected) ? "valid" : "wrong";
  }
}

function macOf({ secret }: MemberKey, { url, principal, id }: NamedSession): Buffer {
  const key = createHmac("sha256", secret).update(PURPOSE).digest();
  return createHmac("sha256", key)
    .update(JSON.stringify([url, principal, id]))
    .digest();
}
