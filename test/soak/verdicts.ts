import { CacheError } from "@frontcache/proto";

/** Failures that the origin's trouble excuses: it was asked again and again, and did not answer. */
const EXCUSED_BY_ORIGIN = new Set(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"]);
/** How long after the origin's trouble a read that began in it may still fail. */
const AFTERMATH_MS = 10_000;

/** What all reads came to, each held against the rules. */
export class Verdicts {
  /** Answers by the kind of read. */
  readonly answers: Record<string, number> = {};
  /** Wrong bytes, one line each. */
  readonly wrong: string[] = [];
  /** Failures that no rule allows, one line each. */
  readonly failed: string[] = [];
  /** Failures that a rule allows, by kind and code. */
  readonly allowed: Record<string, number> = {};
  bytes = 0;
  #originTroubles = 0;
  #originWellSinceMs = Number.NEGATIVE_INFINITY;

  /** The origin is in trouble until the returned function is called. */
  originInTrouble(): () => void {
    this.#originTroubles++;
    return () => {
      this.#originTroubles--;
      this.#originWellSinceMs = performance.now();
    };
  }

  answered(kind: string, bytes: number, wrong: string | undefined): void {
    this.answers[kind] = (this.answers[kind] ?? 0) + 1;
    this.bytes += bytes;
    if (wrong !== undefined) this.wrong.push(`${kind}: ${wrong}`);
  }

  /** `alsoAllowed`: codes that this very read may fail with. */
  failedWith(kind: string, error: unknown, alsoAllowed: readonly string[] = []): void {
    const { code, message } = CacheError.from(error);
    const excused = EXCUSED_BY_ORIGIN.has(code) && this.#originRecently();
    if (!excused && !alsoAllowed.includes(code)) {
      this.failed.push(`${kind}: ${code} ${message}`);
      return;
    }
    const key = `${kind} ${code}`;
    this.allowed[key] = (this.allowed[key] ?? 0) + 1;
  }

  #originRecently(): boolean {
    return this.#originTroubles > 0 || performance.now() - this.#originWellSinceMs < AFTERMATH_MS;
  }
}
