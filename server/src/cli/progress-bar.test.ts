import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { openProgressBar } from "./progress-bar.js";

const MiB = 1 << 20;

function terminal(isTTY: boolean, columns = 120) {
  const stream = Object.assign(new PassThrough(), { isTTY, columns, rows: 24 });
  const text = (): string => String(stream.read() ?? "");
  return { stream, text };
}

describe("a progress bar", () => {
  it("shows progress, rate and remaining time on a terminal", () => {
    let nowMs = 0;
    const { stream, text } = terminal(true);
    const bar = openProgressBar(stream, true, () => nowMs);
    bar.update(0, 0);
    nowMs = 2_000;
    bar.update(20 * MiB, 80 * MiB, "3 objects");
    bar.end();
    const shown = text();
    expect(shown).toContain("25 %  20.0 MiB of 80.0 MiB  10.0 MiB/s, 6.0 s left  3 objects");
    expect(shown).toContain("█");
  });

  it("is shorter on a narrow terminal, so that amounts, rate and note fit", () => {
    let nowMs = 0;
    const { stream, text } = terminal(true, 80);
    const bar = openProgressBar(stream, true, () => nowMs);
    bar.update(1, 1_500 * MiB);
    text();
    nowMs = 2_000;
    bar.update(900 * MiB, 1_500 * MiB, "1,234 objects");
    expect(text()).toContain("░  60 %  900 MiB of 1.5 GiB  450 MiB/s, 1.3 s left  1,234 objects\x1b");
  });

  it("shows only the amount and the rate if the total is not known", () => {
    const { stream, text } = terminal(true);
    openProgressBar(stream).update(20 * MiB, 0);
    expect(text()).toContain("\r 20.0 MiB  ");
  });

  it("is removed at its end, and the cursor is visible again", () => {
    const { stream, text } = terminal(true);
    const bar = openProgressBar(stream);
    bar.update(1, 2);
    text();
    bar.end();
    bar.end();
    const shown = text();
    expect(shown).toContain("\x1b[?25h");
    expect(shown).toContain("\x1b[2K");
  });

  it("is not shown without a terminal", () => {
    const { stream, text } = terminal(false);
    const bar = openProgressBar(stream);
    bar.update(1, 2, "note");
    bar.end();
    expect(text()).toBe("");
  });
});
