import type { Socket } from "node:net";
import { ChannelCredentials } from "@grpc/grpc-js";
import type { Access } from "../access.js";
import type { Clock } from "../clock.js";
import { proveMember } from "../prove-member.js";

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
        await this.#prove(connected.socket);
        return connected;
      },
      waitForReady: () => next.waitForReady(),
      getCallCredentials: () => next.getCallCredentials(),
      destroy: () => next.destroy(),
    };
  }

  async #prove(socket: Socket): Promise<void> {
    const { access, hostPort, clock, connectTimeoutMs: timeoutMs, onFailed } = this.#options;
    const member = access.member?.();
    if (member === undefined) return;
    try {
      await proveMember(socket, { member, hostPort, clock, timeoutMs });
    } catch (error) {
      onFailed(error as Error);
      throw error;
    }
  }
}
