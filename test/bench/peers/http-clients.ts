import { Agent, type IncomingMessage, get as nodeGet } from "node:http";
import { type Dispatcher, Pool } from "undici";
import type { MemberProcess } from "../../e2e/member-process.js";
import type { Contestant } from "../measure.js";
import type { StageObject } from "../stage.js";

/** What every HTTP client reads here: the beginning of an object, through a member's gateway. */
export interface GatewayRead {
  readonly member: MemberProcess;
  readonly object: StageObject;
  /** Bytes from the object's beginning. */
  readonly length: number;
  /** Connections at most. */
  readonly connections: number;
}

function targetOf({ member, object, length }: GatewayRead): { origin: string; path: string; headers: Record<string, string> } {
  const path = `/s3/bench/${object.key}`;
  return { origin: `http://${member.http}`, path, headers: { range: `bytes=0-${length - 1}` } };
}

/** `fetch`, as everybody has it. */
export function byFetch(read: GatewayRead): Contestant {
  const { origin, path, headers } = targetOf(read);
  const once = async (): Promise<number> => (await (await fetch(origin + path, { headers })).arrayBuffer()).byteLength;
  return { name: "fetch", read: once, serverPid: read.member.pid };
}

/** undici's `request`, its fastest way that gives whole bodies. */
export function byUndici(read: GatewayRead): Contestant & AsyncDisposable {
  const { origin, path, headers } = targetOf(read);
  const pool: Dispatcher = new Pool(origin, { connections: read.connections });
  const once = async (): Promise<number> => {
    const { body } = await pool.request({ method: "GET", path, headers });
    return (await body.arrayBuffer()).byteLength;
  };
  return { name: "undici", read: once, serverPid: read.member.pid, [Symbol.asyncDispose]: () => pool.destroy() };
}

function wholeBody(response: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    response.on("data", (chunk: Buffer) => chunks.push(chunk));
    response.once("end", () => resolve(Buffer.concat(chunks))).once("error", reject);
  });
}

/** `node:http` with an agent that keeps its connections. */
export function byNodeHttp(read: GatewayRead): Contestant & Disposable {
  const { origin, path, headers } = targetOf(read);
  const agent = new Agent({ keepAlive: true, maxSockets: read.connections });
  const once = async (): Promise<number> => {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      nodeGet(origin + path, { agent, headers }, resolve).once("error", reject);
    });
    return (await wholeBody(response)).length;
  };
  return { name: "node:http", read: once, serverPid: read.member.pid, [Symbol.dispose]: () => agent.destroy() };
}
