import { CacheError } from "@frontcache/proto";

/** Errors that are allowed while the origin has faults. */
const EXCUSED_BY_ORIGIN = new Set(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"]);
/** Time after the origin's faults in which a read that began during them may still fail. */
const AFTERMATH_MS = 10_000;

/** The outcomes of all reads, checked against the rules. */
export class Verdicts {
  /** Successful reads by kind. */
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

  /** Marks the origin as faulty until the returned function is called. */
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

  /** `alsoAllowed`: additional codes that this read may fail with. */
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
