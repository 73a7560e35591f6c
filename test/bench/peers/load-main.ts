// Sends one request again and again over many connections and counts the answers: in a process of its own, so that it can be
// held to a core. It looks at the first answer's head only; all answers to one request are equally long.
import { connect, type Socket } from "node:net";

/** One round. */
export interface LoadOrder {
  readonly port: number;
  /** The whole request, in ASCII. */
  readonly request: string;
  readonly connections: number;
  readonly ms: number;
}

/** What came of it. */
export interface LoadDone {
  readonly reads: number;
  readonly ms: number;
}

/** Bytes are thrown away as they come. */
const anywhere = Buffer.alloc(256 << 10);

function load({ port, request, connections, ms }: LoadOrder): Promise<LoadDone> {
  return new Promise((resolve) => {
    const sockets: Socket[] = [];
    let [reads, answerBytes, begin, standing] = [0, 0, 0, 0];
    const finish = (): void => {
      for (const socket of sockets) socket.destroy();
      resolve({ reads, ms: performance.now() - begin });
    };
    const open = (): Socket => {
      let received = 0;
      const take = (bytes: number): boolean => {
        if (answerBytes === 0) answerBytes = wholeAnswer(anywhere.toString("latin1", 0, Math.min(bytes, 2048)));
        received += bytes;
        if (received < answerBytes) return true;
        if (received > answerBytes) throw new Error("an answer of another length than the first");
        received = 0;
        reads++;
        if (performance.now() - begin < ms) socket.write(request, "latin1");
        else finish();
        return true;
      };
      const socket = connect({ port, host: "127.0.0.1", noDelay: true, onread: { buffer: anywhere, callback: take } });
      socket.once("connect", () => {
        if (++standing < connections) return;
        begin = performance.now();
        for (const each of sockets) each.write(request, "latin1");
      });
      return socket;
    };
    for (let made = 0; made < connections; made++) sockets.push(open());
  });
}

function wholeAnswer(text: string): number {
  const headBytes = text.indexOf("\r\n\r\n") + 4;
  const length = /\r\ncontent-length: (\d+)\r\n/i.exec(text)?.[1];
  if (headBytes < 4 || length === undefined || !text.startsWith("HTTP/1.1 206 ")) throw new Error(`no answer: ${text}`);
  return headBytes + Number(length);
}

process.on("message", (order: LoadOrder) => void load(order).then((done) => process.send!(done)));
process.once("disconnect", () => process.exit(0));
process.send!("ready");
