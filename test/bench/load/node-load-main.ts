// The load generator for machines without a C compiler and without wrk: a process that takes one order and reports the result.
import { connect } from "node:net";
import { seededRandom } from "../../seeded-random.js";
import type { LoadOrder, LoadResult } from "./http-load.js";

/** Bodies are overwritten as they arrive. */
const memory = Buffer.alloc(256 << 10);

/** How many bytes of a response are missing, its head included. Throws unless it is 200 or 206 with a Content-Length. */
function responseBytes(text: string): number {
  const headBytes = text.indexOf("\r\n\r\n") + 4;
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(text)?.[1];
  if (headBytes < 4 || length === undefined || !/^HTTP\/1.1 20[06] /.test(text)) throw new Error(`unexpected response: ${text}`);
  return headBytes + Number(length);
}

function run({ port, path, connections, seconds, requests = Infinity, range, header }: LoadOrder): Promise<LoadResult> {
  const random = seededRandom(1);
  const [firstBytes, lastBytes]: [number[], number[]] = [[], []];
  const begin = performance.now();
  let [sent, bytes, active] = [0, 0, connections];
  const nextRequest = (): string => {
    const lines = [`GET ${path.replace("{n}", String(sent++))} HTTP/1.1`, "Host: bench"];
    if (range !== undefined) {
      const offset = range.first + Math.floor((random() * range.span) / range.length) * range.length;
      lines.push(`Range: bytes=${offset}-${offset + range.length - 1}`);
    }
    if (header !== undefined) lines.push(header);
    return `${lines.join("\r\n")}\r\n\r\n`;
  };
  const percentile = (ms: number[], share: number): number =>
    (ms.toSorted((a, b) => a - b)[Math.floor((ms.length - 1) * share)] ?? 0) * 1e3;
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      const elapsed = (performance.now() - begin) / 1e3;
      const [p50Us, p99Us] = [percentile(lastBytes, 0.5), percentile(lastBytes, 0.99)];
      const latencies = { p50Us, p99Us, firstByteP50Us: percentile(firstBytes, 0.5) };
      resolve({ requests: lastBytes.length, failures: 0, seconds: elapsed, bytes, ...latencies });
    };
    const open = (): void => {
      let [left, sentMs] = [0, 0];
      const send = (): void => {
        if (sent >= requests || performance.now() - begin > seconds * 1e3) {
          socket.destroy();
          if (--active === 0) finish();
          return;
        }
        left = 0;
        sentMs = performance.now();
        socket.write(nextRequest(), "latin1");
      };
      const receive = (received: number): boolean => {
        if (left === 0) {
          left = responseBytes(memory.toString("latin1", 0, Math.min(received, 8192)));
          firstBytes.push(performance.now() - sentMs);
        }
        left -= received;
        bytes += received;
        if (left > 0) return true;
        lastBytes.push(performance.now() - sentMs);
        send();
        return true;
      };
      const socket = connect({ port, host: "127.0.0.1", noDelay: true, onread: { buffer: memory, callback: receive } });
      socket.once("connect", send).once("error", reject);
    };
    for (let opened = 0; opened < connections; opened++) open();
  });
}

process.on("message", (order: LoadOrder) => void run(order).then((result) => process.send!(result)));
process.once("disconnect", () => process.exit(0));
process.send!("ready");
