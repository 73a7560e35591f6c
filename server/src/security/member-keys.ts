import { type CallingMember, type HandshakeOutcome, type MemberKey, memberKey } from "@frontcache/client/members";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import type { WatchedFiles } from "./watched-files.js";

/** 32 characters of base64 are 192 bits. */
const MIN_LENGTH = 32;
const MAX_LENGTH = 1_024;
/** Two are needed while a key is replaced. */
const MAX_KEYS = 8;

/** Parses a file with one key per line; empty lines are ignored. Throws an Error that names the line and never its content. */
export function parseMemberKeys(text: string): readonly MemberKey[] {
  const keys = text.split("\n").flatMap((line, at) => {
    const key = line.trim();
    if (key === "") return [];
    if (key.length < MIN_LENGTH || key.length > MAX_LENGTH) {
      throw new Error(
        `the key in line ${at + 1} has ${key.length} characters: use ${MIN_LENGTH} to ${MAX_LENGTH} random ones, openssl rand -base64 32`,
      );
    }
    return [memberKey(key)];
  });
  if (keys.length === 0) throw new Error("the file contains no key: write one per line");
  if (keys.length > MAX_KEYS) throw new Error(`the file contains more than ${MAX_KEYS} keys: remove old ones`);
  return keys;
}

/** How soon connections by an older key, or without proof, are replaced: by then the other member may have read its file, too. */
const RENEW_MS = 30_000;

/** One line in the log at most per this time. */
const LOG_EVERY_MS = 10_000;

export interface MemberKeysOptions {
  /** This member's name. */
  readonly name: string;
  readonly file: WatchedFiles<readonly MemberKey[]>;
  readonly clock: Clock;
  readonly log: Log;
}

/** The keys by which members prove themselves, and this member's proofs to others. */
export class MemberKeys {
  readonly #options: MemberKeysOptions;
  readonly #renewals = new Set<() => void>();
  #nameAt: CallingMember["nameAt"] = () => undefined;
  #caller: CallingMember;
  #revision = 0;
  #cancelRenewal: (() => void) | undefined;
  #nextLineMs = Number.NEGATIVE_INFINITY;

  constructor(options: MemberKeysOptions) {
    this.#options = options;
    this.#caller = this.#newCaller();
    options.file.onChange(() => {
      this.#revision++;
      this.#caller = this.#newCaller();
      this.#renew();
    });
  }

  get current(): readonly MemberKey[] {
    return this.#options.file.current;
  }

  /** Grows with every change of the keys. */
  get revision(): number {
    return this.#revision;
  }

  /** How this member proves itself on the connections that it makes. */
  get caller(): CallingMember {
    return this.#caller;
  }

  /** `nameAt`: the name of the member at `host:port` by the member list. A connection to a member of another name is refused. */
  follow(nameAt: CallingMember["nameAt"]): void {
    this.#nameAt = nameAt;
  }

  /** Calls back whenever connections to other members have to be replaced, because they are not by the first key. */
  onRenewal(listener: () => void): void {
    this.#renewals.add(listener);
  }

  close(): void {
    this.#cancelRenewal?.();
    this.#renewals.clear();
  }

  #newCaller(): CallingMember {
    return {
      name: this.#options.name,
      keys: this.current,
      nameAt: (hostPort) => this.#nameAt(hostPort),
      onConnected: (hostPort, outcome) => this.#onConnected(hostPort, outcome),
    };
  }

  #onConnected(hostPort: string, outcome: HandshakeOutcome): void {
    if (outcome === "proven") return;
    this.#cancelRenewal ??= this.#options.clock.after(RENEW_MS, () => this.#renew());
    if (outcome === "unknown") this.#logUnknown(hostPort);
  }

  #logUnknown(address: string): void {
    const { clock, log } = this.#options;
    if (clock.monotonicMs() < this.#nextLineMs) return;
    this.#nextLineMs = clock.monotonicMs() + LOG_EVERY_MS;
    log.warn(
      { event: "members-key-unknown", address },
      `the member at ${address} has no key of this member's --members-key-file: give all members the same file`,
    );
  }

  #renew(): void {
    this.#cancelRenewal?.();
    this.#cancelRenewal = undefined;
    for (const renew of this.#renewals) renew();
  }
}
