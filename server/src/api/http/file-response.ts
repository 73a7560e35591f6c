import { type IncomingMessage, ServerResponse } from "node:http";
import type { PipedBytes } from "../../runtime/slice.js";
import { DirectSocket, type SocketCalls, UNAVAILABLE } from "../sending/direct-socket.js";
import type { Reply } from "./http-context.js";

/** Returns the class of responses of Node's HTTP server on plain sockets. Their bodies can be sent from files and pipes. */
export function fileResponses(calls: SocketCalls): typeof ServerResponse {
  return class FileResponse<Request extends IncomingMessage> extends ServerResponse<Request> implements Reply {
    #direct: DirectSocket | undefined;

    readonly takesPipes = true;

    sendFile(descriptor: number, position: number, count: number): number {
      return this.#sendBy((direct) => direct.sendFile(descriptor, position, count));
    }

    sendMemory(bytes: Buffer): number {
      return this.#sendBy((direct) => direct.send(bytes, bytes.length, false));
    }

    sendPiped(first: Buffer, piped: PipedBytes): number {
      return this.#sendBy((direct) => {
        if (first.length === 0) return direct.sendPiped(piped);
        const sent = direct.send(first, first.length, true);
        return sent < first.length ? sent : sent + Math.max(0, direct.sendPiped(piped));
      });
    }

    /** The kernel sends the head together with the first bytes. */
    #sendBy(send: (direct: DirectSocket) => number): number {
      const { socket } = this;
      // Without a socket, another response of the connection is still being sent. Chunks have a frame each.
      if (socket === null || this.chunkedEncoding) return UNAVAILABLE;
      if (this.#direct !== undefined) return send(this.#direct);
      const direct = new DirectSocket(socket, calls);
      this.#direct = direct;
      direct.cork();
      this.flushHeaders();
      const sent = send(direct);
      direct.uncork();
      return sent;
    }
  };
}
