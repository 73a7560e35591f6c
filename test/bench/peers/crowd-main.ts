// Clients that strain a member, all at once and from several addresses: slow clients, idle connections, aborted reads.
import { connect, type Socket } from "node:net";

/** The clients to run. */
export interface CrowdOrder {
  readonly port: number;
  /** A request for an object of 16 MiB, in ASCII. */
  readonly request: string;
  readonly slowClients: number;
  readonly idle: number;
  /** Concurrent reads that are aborted at the first byte. */
  readonly aborting: number;
}

/** What the clients did since the order. */
export interface CrowdReport {
  readonly slowConnected: number;
  readonly slowOpen: number;
  readonly idleConnected: number;
  readonly idleOpen: number;
  readonly aborted: number;
}

const counts = { slowConnected: 0, slowOpen: 0, idleConnected: 0, idleOpen: 0, aborted: 0 };

/** 1,000 connections from each loopback address. */
function open(port: number, at: number): Socket {
  const localAddress = `127.0.1.${1 + Math.floor(at / 1_000)}`;
  return connect({ port, host: "127.0.0.1", localAddress }).on("error", () => {});
}

/** Requests 16 MiB and reads one byte a second. */
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
      // A client that is disconnected connects again.
      setTimeout(() => idle(port, at), 1_000);
    });
  });
}

/** Sends a request, and aborts it at the first bytes; again and again. */
function abortReads(port: number, at: number, request: string): void {
  const socket = open(port, at);
  socket.once("connect", () => socket.write(request, "latin1"));
  socket.once("data", () => {
    counts.aborted++;
    socket.destroy();
  });
  socket.once("close", () => setTimeout(() => abortReads(port, at, request), 10));
}

process.on("message", (order: CrowdOrder | "report") => {
  if (order === "report") {
    process.send!(counts satisfies CrowdReport);
    return;
  }
  const { port, request, slowClients, idle: idles, aborting } = order;
  for (let at = 0; at < slowClients; at++) setTimeout(readSlowly, at, port, at, request);
  for (let at = 0; at < idles; at++) setTimeout(idle, at / 2, port, 10_000 + at);
  for (let at = 0; at < aborting; at++) abortReads(port, 100_000 + at, request);
});
process.once("disconnect", () => process.exit(0));
process.send!("ready");
