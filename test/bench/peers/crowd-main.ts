// Clients that do a member no good, all at once, from several addresses: slow readers, idle connections, cancelled reads.
import { connect, type Socket } from "node:net";

/** Who comes. */
export interface CrowdOrder {
  readonly port: number;
  /** Of an object of 16 MiB, in ASCII. */
  readonly request: string;
  readonly slowReaders: number;
  readonly idle: number;
  /** Reads that are cancelled as soon as they are asked for, at a time. */
  readonly cancelling: number;
}

/** What they did since they came. */
export interface CrowdReport {
  readonly slowConnected: number;
  readonly slowOpen: number;
  readonly idleConnected: number;
  readonly idleOpen: number;
  readonly cancelled: number;
}

const counts = { slowConnected: 0, slowOpen: 0, idleConnected: 0, idleOpen: 0, cancelled: 0 };

/** Loopback addresses of their own, 1,000 connections each. */
function open(port: number, at: number): Socket {
  const localAddress = `127.0.1.${1 + Math.floor(at / 1_000)}`;
  return connect({ port, host: "127.0.0.1", localAddress }).on("error", () => {});
}

/** Asks for 16 MiB and takes a byte of it each second. */
function readSlowly(port: number, at: number, request: string): void {
  const socket = open(port, at);
  socket.once("connect", () => {
    counts.slowConnected++;
    counts.slowOpen++;
    socket.write(request, "latin1");
    const timer = setInterval(() => socket.read(1), 1_000);
    socket.once("close", () => {
      counts.slowOpen--;
      clearInterval(timer);
    });
  });
}

function idle(port: number, at: number): void {
  const socket = open(port, at);
  socket.once("connect", () => {
    counts.idleConnected++;
    counts.idleOpen++;
    socket.resume().once("close", () => {
      counts.idleOpen--;
      // Who is sent away comes back.
      setTimeout(() => idle(port, at), 1_000);
    });
  });
}

/** Asks, hears the first bytes, and leaves; again and again. */
function cancel(port: number, at: number, request: string): void {
  const socket = open(port, at);
  socket.once("connect", () => socket.write(request, "latin1"));
  socket.once("data", () => {
    counts.cancelled++;
    socket.destroy();
  });
  socket.once("close", () => setTimeout(() => cancel(port, at, request), 10));
}

process.on("message", (order: CrowdOrder | "report") => {
  if (order === "report") {
    process.send!(counts satisfies CrowdReport);
    return;
  }
  const { port, request, slowReaders, idle: idles, cancelling } = order;
  for (let at = 0; at < slowReaders; at++) setTimeout(readSlowly, at, port, at, request);
  for (let at = 0; at < idles; at++) setTimeout(idle, at / 2, port, 10_000 + at);
  for (let at = 0; at < cancelling; at++) cancel(port, 100_000 + at, request);
});
process.once("disconnect", () => process.exit(0));
process.send!("ready");
