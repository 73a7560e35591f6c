import { formatBytes, formatDuration } from "./amounts.js";

/** Shows progress in bytes. */
export interface ProgressBar {
  /** `total` 0: not known, and no bar is drawn; `note` follows the amounts. */
  update(done: number, total: number, note?: string): void;
  /** Removes the bar. May be called again. */
  end(): void;
}

/** The rate is measured over this time. A shorter time makes it unsteady, a longer one hides a stall. */
const RATE_WINDOW_MS = 5_000;

/** Terminals show ten pictures a second well, and more only cost time. */
const REDRAW_MS = 100;
/** Room for the percentage, the amounts and a short note. It does not depend on them, so that the bar keeps its width. */
const TEXT_WIDTH = 68;
const MIN_BAR_WIDTH = 10;
const MAX_BAR_WIDTH = 30;

/** Control sequences of terminals (ECMA-48). */
const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";
const CLEAR_LINE = "\x1b[2K";
const CLEAR_TO_END = "\x1b[K";
const LINE_START = "\r";

/** Opens a progress bar on a terminal. Elsewhere nothing is shown. */
export function openProgressBar(
  stream: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number },
  shown = true,
  nowMs: () => number = performance.now.bind(performance),
): ProgressBar {
  if (!shown || stream.isTTY !== true) return { update() {}, end() {} };
  const rate = new Rate(nowMs);
  let drawnMs = Number.NEGATIVE_INFINITY;
  let ended = false;
  stream.write(HIDE_CURSOR);
  return {
    update(done, total, note = "") {
      // A longer line would wrap, and the next one would not overwrite all of it.
      const width = Math.max(0, (stream.columns ?? 80) - 1);
      const amounts = `${formatBytes(done)}${total === 0 ? "" : ` of ${formatBytes(total)}`}  ${rate.text(done, total)}  ${note}`;
      const visible = ` ${total === 0 ? amounts : withBar(Math.min(1, done / total), amounts, width)}`.slice(0, width);
      if (ended || nowMs() - drawnMs < REDRAW_MS) return;
      drawnMs = nowMs();
      stream.write(`${LINE_START}${visible}${CLEAR_TO_END}`);
    },
    end() {
      if (ended) return;
      ended = true;
      stream.write(`${LINE_START}${CLEAR_LINE}${SHOW_CURSOR}`);
    },
  };
}

/** A bar, the percentage and the amounts, for a line of this width. */
function withBar(share: number, amounts: string, width: number): string {
  const barWidth = Math.min(MAX_BAR_WIDTH, Math.max(MIN_BAR_WIDTH, width - TEXT_WIDTH));
  const full = Math.floor(share * barWidth);
  const bar = "\u2588".repeat(full) + "\u2591".repeat(barWidth - full);
  return `${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${amounts}`;
}

/** The recent rate, and the remaining time at this rate. */
class Rate {
  readonly #nowMs: () => number;

  readonly #samples: { readonly atMs: number; readonly done: number }[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  text(done: number, total: number): string {
    const atMs = this.#nowMs();
    this.#samples.push({ atMs, done });
    while (this.#samples.length > 2 && this.#samples[1]!.atMs < atMs - RATE_WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0]!;
    if (atMs - first.atMs < 500 || done <= first.done) return "";
    const perMs = (done - first.done) / (atMs - first.atMs);
    const rest = total > done ? `, ${formatDuration((total - done) / perMs)} left` : "";
    return `${formatBytes(perMs * 1000)}/s${rest}`;
  }
}
