import type { Clock } from "../../runtime/clock.js";
import type { Principal, RequestSource } from "../principal.js";

/** Something that the audit log keeps. It never contains a secret. */
export interface AuditEvent {
  /** `failed`: allowed, and nothing was changed. `unauthenticated`: the credentials are invalid. */
  readonly outcome: "allowed" | "denied" | "failed" | "unauthenticated";
  /** The operation of a grant, `reload`, or the method of a request that was not authenticated. */
  readonly operation: string;
  /** The URL of an object, a beginning of URLs, a path without its query, or a file. */
  readonly object: string;
  /** Undefined: nobody was authenticated. */
  readonly principal?: Pick<Principal, "name" | "method" | "source"> | undefined;
  /** Undefined: that of the principal. */
  readonly source?: RequestSource | undefined;
  readonly reason?: string | undefined;
}

/** Keeps what is denied, and what is allowed that changes something. */
export interface Audit {
  record(event: AuditEvent): void;
}

/** Writes one line. It may be written later. */
export type WriteLine = (fields: Readonly<Record<string, unknown>>) => void;

/** Further events of a second are only counted, so that a client that is denied everything does not fill a disk. */
const MAX_PER_SECOND = 1_000;

/** Longer than the URL of any object whose bucket and key are ASCII. */
const MAX_TEXT = 1_300;

/** Makes lines of events, at most a thousand per second; the next line after that says how many are missing. */
export class AuditLog implements Audit {
  readonly #write: WriteLine;
  readonly #clock: Pick<Clock, "nowMs" | "monotonicMs">;
  #secondEndsMs = Number.NEGATIVE_INFINITY;
  #inSecond = 0;
  #missing = 0;

  constructor(write: WriteLine, clock: Pick<Clock, "nowMs" | "monotonicMs">) {
    this.#write = write;
    this.#clock = clock;
  }

  record({ outcome, operation, object, principal, source = principal?.source, reason }: AuditEvent): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#secondEndsMs) {
      this.#secondEndsMs = nowMs + 1_000;
      this.#inSecond = 0;
    }
    if (this.#inSecond >= MAX_PER_SECOND) {
      this.#missing++;
      return;
    }
    this.#inSecond++;
    this.#write({
      event: "audit",
      at: new Date(this.#clock.nowMs()).toISOString(),
      outcome,
      principal: principal?.name,
      method: principal?.method,
      operation,
      object: object.length > MAX_TEXT ? `${object.slice(0, MAX_TEXT)}...`.toWellFormed() : object,
      ...source,
      reason,
      ...(this.#missing > 0 && { missing: this.#missing }),
    });
    this.#missing = 0;
  }
}
