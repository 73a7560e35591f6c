import { CacheError, type MemberInfo, type ValueAnswer, type ValueCall } from "@frontcache/proto";
import { LinkedAbort } from "@frontcache/proto/runtime";
import type { Clock } from "../runtime/clock.js";
import { type BodyPieces, BodyTee } from "./body-tee.js";
import type { StepBytes } from "./value-members.js";
import { CALL_TIMEOUT_MS, type ValueService } from "./value-service.js";

export interface SendingWith {
  readonly service: ValueService;
  readonly clock: Pick<Clock, "after">;
  readonly signal: AbortSignal;
}

/** What members answered to a step with bytes. */
export interface Sent {
  readonly answered: readonly { readonly member: MemberInfo; readonly answer: ValueAnswer }[];
  readonly failed: readonly { readonly member: MemberInfo; readonly error: CacheError }[];
}

/**
 * Sends a step with bytes to several members at once. A body is read once; its members get each piece at their own pace. Rejects with
 * the body's error, or the signal's reason.
 */
export async function sendToAll(
  members: readonly MemberInfo[],
  step: Partial<ValueCall>,
  bytes: StepBytes,
  { service, clock, signal }: SendingWith,
): Promise<Sent> {
  const answered: { member: MemberInfo; answer: ValueAnswer }[] = [];
  const failed: { member: MemberInfo; error: CacheError }[] = [];
  const sending = new LinkedAbort(signal);
  const tee = bytes instanceof Uint8Array ? undefined : new BodyTee(clock);
  const running = members.map(async (member) => {
    const branch = tee?.branch();
    try {
      answered.push({ member, answer: await service.send(member, step, branch ?? (bytes as Uint8Array), sending.signal) });
    } catch (error) {
      failed.push({ member, error: CacheError.from(error) });
    } finally {
      await branch?.return?.();
    }
  });
  let cancel = (): void => {};
  try {
    await tee?.run(bytes as BodyPieces);
    cancel = clock.after(CALL_TIMEOUT_MS, () => {
      sending.abort(new CacheError("DEADLINE_EXCEEDED", `a member has not taken a value within ${CALL_TIMEOUT_MS} ms`));
    });
    await Promise.all(running);
  } catch (error) {
    sending.abort(CacheError.from(error));
    await Promise.all(running);
    throw error;
  } finally {
    cancel();
    sending.unlink();
  }
  signal.throwIfAborted();
  return { answered, failed };
}
