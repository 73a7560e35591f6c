import type { CallLimits } from "../members/ports.js";

/**
 * What the work comes to, or, where the call ends before, rejects with what ended it: `onLeft` hears then that the work, which
 * must never reject, goes on without anybody who waits for it.
 */
export async function untilEnd<Result>(work: Promise<Result>, limits: CallLimits, onLeft: () => void): Promise<Result> {
  let stop = (): void => {};
  const ended = new Promise<never>((_, reject) => {
    const leave = (): void => {
      onLeft();
      reject(limits.ended);
    };
    if (limits.ended === undefined) stop = limits.onEnd(leave);
    else leave();
  });
  try {
    return await Promise.race([work, ended]);
  } finally {
    stop();
  }
}
