import { SingleBar } from "cli-progress";
import { formatBytes, formatDuration } from "./amounts.js";

/** Shows progress in bytes. */
export interface ProgressBar {
  /** `total` 0: not known yet; `note` follows the bar. */
  update(done: number, total: number, note?: string): void;
  /** Removes the bar. May be called again. */
  end(): void;
}

/** The rate is measured over this time. A shorter time makes it unsteady, a longer one hides a stall. */
const RATE_WINDOW_MS = 5_000;

/** Opens a progress bar on a terminal. Elsewhere nothing is shown. */
export function openProgressBar(
  stream: NodeJS.WritableStream & { readonly isTTY?: boolean },
  shown = true,
  nowMs: () => number = performance.now.bind(performance),
): ProgressBar {
  if (!shown || stream.isTTY !== true) return { update() {}, end() {} };
  const bar = new SingleBar({
    stream,
    format: " {bar} {percentage} %  {done} of {all}  {rate}  {note}",
    barCompleteChar: "\u2588",
    barIncompleteChar: "\u2591",
    barsize: 30,
    autopadding: false,
    hideCursor: true,
    clearOnComplete: true,
    gracefulExit: false,
  });
  const rate = new Rate(nowMs);
  bar.start(1, 0, { done: formatBytes(0), all: "?", rate: "", note: "" });
  return {
    update(done, total, note = "") {
      bar.setTotal(Math.max(1, total));
      bar.update(Math.min(done, Math.max(1, total)), {
        done: formatBytes(done),
        all: total === 0 ? "?" : formatBytes(total),
        rate: rate.text(done, total),
        note,
      });
    },
    end: () => bar.stop(),
  };
}

/** The recent rate, and the remaining time at this rate. */
class Rate {
  readonly #samples: { readonly atMs: number; readonly done: number }[] = [];

  constructor(private readonly nowMs: () => number) {}

  text(done: number, total: number): string {
    const atMs = this.nowMs();
    this.#samples.push({ atMs, done });
    while (this.#samples.length > 2 && this.#samples[1]!.atMs < atMs - RATE_WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0]!;
    if (atMs - first.atMs < 500 || done <= first.done) return "";
    const perMs = (done - first.done) / (atMs - first.atMs);
    const rest = total > done ? `, ${formatDuration((total - done) / perMs)} left` : "";
    return `${formatBytes(perMs * 1000)}/s${rest}`;
  }
}
