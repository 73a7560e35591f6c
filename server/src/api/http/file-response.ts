import { type IncomingMessage, ServerResponse } from "node:http";
import { DirectSocket, type SocketCalls, UNAVAILABLE } from "../sending/direct-socket.js";
import type { Reply } from "./http-context.js";

/** Returns the class of responses of Node's HTTP server on plain sockets. Their bodies can be sent from files. */
export function fileResponses(calls: SocketCalls): typeof ServerResponse {
  return class FileResponse<Request extends IncomingMessage> extends ServerResponse<Request> implements Reply {
    #direct: DirectSocket | undefined;

    /** The kernel sends the head together with the first bytes of the file. */
    sendFile(descriptor: number, position: number, count: number): number {
      const { socket } = this;
      // Without a socket, another response of the connection is still being sent. Chunks have a frame each.
      if (socket === null || this.chunkedEncoding) return UNAVAILABLE;
      if (this.#direct !== undefined) return this.#direct.sendFile(descriptor, position, count);
      const direct = new DirectSocket(socket, calls);
      this.#direct = direct;
      direct.cork();
      this.flushHeaders();
      const sent = direct.sendFile(descriptor, position, count);
      direct.uncork();
      return sent;
    }
  };
}
