import type { Socket } from "node:net";
import { type KeyProof, ListenerHandshake, type ListenerStep, type ListeningMember } from "@frontcache/client/members";

export interface AnswerHandshakeOptions {
  readonly socket: Socket;
  /** The bytes of the connection that have arrived; `ListenerHandshake.begins` with them. */
  readonly first: Buffer;
  readonly member: ListeningMember;
  /** The handshake is over, and the socket is paused. `proof` undefined: there is no key in common. `rest`: bytes after it. */
  onEnd(proof: KeyProof | undefined, rest: Buffer): void;
  /** The caller's proof is wrong; the connection is closed. */
  onFailed(error: Error): void;
}

/**
 * Answers the handshake by which a member that connected proves itself. The caller closes connections that are too slow. It ends when
 * all that was written is sent: HTTP/2 takes the socket over from Node.js, and a write that is not its own would abort the process.
 */
export function answerHandshake({ socket, first, member, onEnd, onFailed }: AnswerHandshakeOptions): void {
  const handshake = new ListenerHandshake(member);
  let unsentWrites = 0;
  let end: ListenerStep["end"];
  const endWhenSent = (): void => {
    if (end !== undefined && unsentWrites === 0 && !socket.destroyed) onEnd(end.proof, end.rest);
  };
  const send = (reply: string): void => {
    unsentWrites++;
    socket.write(reply, "latin1", () => {
      unsentWrites--;
      endWhenSent();
    });
  };
  const onData = (bytes: Buffer): void => {
    try {
      const step = handshake.take(bytes);
      if (step === undefined) return;
      end = step.end;
      if (end !== undefined) socket.off("data", onData).pause();
      if (step.reply === "") endWhenSent();
      else send(step.reply);
    } catch (error) {
      socket.off("data", onData);
      socket.destroy();
      onFailed(error as Error);
    }
  };
  socket.on("data", onData);
  onData(first);
}
