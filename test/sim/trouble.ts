/** When something was wrong, and with whom, as far as anybody may still feel it. */
export class Trouble {
  readonly #feltMs: number;

  #windows: { readonly whom: string; readonly fromMs: number; untilMs: number }[] = [];

  /** `feltMs`: how long after its end it may still be felt. */
  constructor(feltMs: number) {
    this.#feltMs = feltMs;
  }

  /** It begins; the returned function ends it. Harmless when repeated. */
  begin(whom: string, nowMs: number): (nowMs: number) => void {
    const window = { whom, fromMs: nowMs, untilMs: Number.POSITIVE_INFINITY };
    this.#windows.push(window);
    return (endMs) => {
      window.untilMs = Math.min(window.untilMs, endMs + this.#feltMs);
    };
  }

  /** Whether there was any between two moments. */
  during(fromMs: number, toMs: number): boolean {
    return this.#windows.some((window) => window.fromMs <= toMs && window.untilMs >= fromMs);
  }

  /** With how many there was any between two moments. */
  countDuring(fromMs: number, toMs: number): number {
    const felt = this.#windows.filter((window) => window.fromMs <= toMs && window.untilMs >= fromMs);
    return new Set(felt.map(({ whom }) => whom)).size;
  }

  /** Forgets what nobody who begins from now on can feel. */
  forgetBefore(nowMs: number): void {
    this.#windows = this.#windows.filter(({ untilMs }) => untilMs >= nowMs);
  }
}
