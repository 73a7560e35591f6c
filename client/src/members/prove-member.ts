import type { Socket } from "node:net";
import type { Clock } from "./clock.js";
import { CallerHandshake, type CallingMember } from "./member-handshake.js";

export interface MemberProofOptions {
  readonly member: CallingMember;
  /** The address of the listener. */
  readonly hostPort: string;
  readonly clock: Pick<Clock, "after">;
  readonly timeoutMs: number;
}

/**
 * Proves on a new connection that this process is a member. Resolves when requests may begin on the socket, which is paused then, and
 * not before all that was written is sent: HTTP/2 takes the socket over from Node.js, and a write that is not its own would abort the
 * process. Rejects if the listener is not the expected member, or too slow.
 */
export function proveMember(socket: Socket, { member, hostPort, clock, timeoutMs }: MemberProofOptions): Promise<void> {
  const handshake = new CallerHandshake(member, hostPort);
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      cancelTimer();
      socket.off("data", onData).off("error", settle).off("close", onClose).pause();
      if (error === undefined) resolve();
      else reject(error);
    };
    const onClose = (): void => settle(new Error("it closed the connection during the members' handshake"));
    const onData = (bytes: Buffer): void => {
      try {
        const reply = handshake.take(bytes);
        if (reply === undefined) return;
        socket.off("data", onData).pause();
        socket.write(reply, "latin1", (error) => settle(error ?? undefined));
      } catch (error) {
        settle(error as Error);
      }
    };
    const cancelTimer = clock.after(timeoutMs, () => {
      settle(new Error(`no answer to the members' handshake within ${timeoutMs} ms`));
    });
    socket.on("data", onData).on("error", settle).on("close", onClose);
    socket.write(handshake.hello, "latin1");
  });
}
