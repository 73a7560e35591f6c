import type { Socket } from "node:net";
import { ChannelCredentials } from "@grpc/grpc-js";
import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import { CallerHandshake } from "../member-handshake.js";

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

export interface MemberCredentialsOptions {
  readonly access: Access;
  /** Address of the channel's listener. */
  readonly hostPort: string;
  readonly clock: Clock;
  /** Timeout of a handshake, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Called when a handshake failed. gRPC reconnects later. */
  onFailed(error: Error): void;
}

/**
 * Credentials of a channel with which a member proves its identity on each connection of gRPC, including reconnections.
 * `next` are the credentials for TLS or plain text. Without a member key they are returned unchanged.
 */
export function memberCredentials(next: ChannelCredentials, options: MemberCredentialsOptions): ChannelCredentials {
  return options.access.member?.() === undefined ? next : new MemberCredentials(next, options);
}

class MemberCredentials extends ChannelCredentials {
  readonly #next: ChannelCredentials;
  readonly #options: MemberCredentialsOptions;

  constructor(next: ChannelCredentials, options: MemberCredentialsOptions) {
    super();
    this.#next = next;
    this.#options = options;
  }

  override _isSecure(): boolean {
    return this.#next._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...channel: Parameters<ChannelCredentials["_createSecureConnector"]>): SecureConnector {
    const next = this.#next._createSecureConnector(...channel);
    return {
      connect: async (socket) => {
        const connected = await next.connect(socket);
        await prove(connected.socket, this.#options);
        return connected;
      },
      waitForReady: () => next.waitForReady(),
      getCallCredentials: () => next.getCallCredentials(),
      destroy: () => next.destroy(),
    };
  }
}

/**
 * Resolves when HTTP/2 may begin on the socket, which is not before all that was written is sent: it takes the socket over from
 * Node.js, and a write that is not its own would abort the process. Rejects if the listener is not the expected member, or too slow. */
function prove(socket: Socket, { access, hostPort, clock, connectTimeoutMs, onFailed }: MemberCredentialsOptions): Promise<void> {
  const member = access.member?.();
  if (member === undefined) return Promise.resolve();
  const handshake = new CallerHandshake(member, hostPort);
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      cancelTimer();
      socket.off("data", onData).off("error", settle).off("close", onClose).pause();
      if (error === undefined) resolve();
      else {
        onFailed(error);
        reject(error);
      }
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
    const cancelTimer = clock.after(connectTimeoutMs, () => {
      settle(new Error(`no answer to the members' handshake within ${connectTimeoutMs} ms`));
    });
    socket.on("data", onData).on("error", settle).on("close", onClose);
    socket.write(handshake.hello, "latin1");
  });
}
