import type { CallLimits } from "../members/ports.js";

/**
 * Waits for the work or the end of the call, whichever comes first. If the call ends first, calls `onAbandoned` and rejects with
 * the call's error. The abandoned work continues and must never reject.
 */
export async function untilEnd<Result>(work: Promise<Result>, limits: CallLimits, onAbandoned: () => void): Promise<Result> {
  let stop = (): void => {};
  const ended = new Promise<never>((_, reject) => {
    const abandon = (): void => {
      onAbandoned();
      reject(limits.ended);
    };
    if (limits.ended === undefined) stop = limits.onEnd(abandon);
    else abandon();
  });
  try {
    return await Promise.race([work, ended]);
  } finally {
    stop();
  }
}
