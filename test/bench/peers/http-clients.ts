import { Agent, type IncomingMessage, get as nodeGet } from "node:http";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { type Dispatcher, Pool } from "undici";
import type { MemberProcess } from "../../e2e/member-process.js";
import type { Contestant } from "../measure.js";
import type { OriginProcess } from "../origin-process.js";
import type { StageObject } from "../stage.js";

/** The read that every HTTP client performs: the first bytes of an object, from a member's HTTP listener. */
export interface HttpRead {
  readonly member: MemberProcess;
  readonly object: StageObject;
  readonly length: number;
  /** Maximum number of connections. */
  readonly connections: number;
}

function targetOf({ member, object, length }: HttpRead): { origin: string; path: string; headers: Record<string, string> } {
  const path = `/s3/bench/${object.key}`;
  return { origin: `http://${member.http}`, path, headers: { range: `bytes=0-${length - 1}` } };
}

/** Node's own `fetch`. */
export function byFetch(read: HttpRead): Contestant {
  const { origin, path, headers } = targetOf(read);
  const once = async (): Promise<number> => (await (await fetch(origin + path, { headers })).arrayBuffer()).byteLength;
  return { name: "fetch", read: once, serverPid: read.member.pid };
}

/** undici's `request`, its fastest function that returns whole bodies. */
export function byUndici(read: HttpRead): Contestant & AsyncDisposable {
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

/** `node:http` with a keep-alive agent. */
export function byNodeHttp(read: HttpRead): Contestant & Disposable {
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

/** The AWS SDK, which reads the first bytes of an object from the S3 server itself. */
export function byAwsSdk(origin: OriginProcess, object: StageObject, length: number): Contestant & Disposable {
  const client = new S3Client({
    endpoint: origin.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  const read = async (): Promise<number> => {
    const command = new GetObjectCommand({ Bucket: "bench", Key: object.key, Range: `bytes=0-${length - 1}` });
    const { Body } = await client.send(command);
    return (await Body!.transformToByteArray()).length;
  };
  return { name: "AWS SDK from S3", read, serverPid: origin.pid, [Symbol.dispose]: () => client.destroy() };
}

/** One plain GET of a whole object of the origin. The bytes are discarded. */
export function plainGet(endpoint: string, key: string): Promise<void> {
  return new Promise((resolve, reject) => {
    nodeGet(`${endpoint}/bench/${key}`, { agent: false }, (response) => {
      response.resume();
      response.once("end", resolve).once("error", reject);
    }).once("error", reject);
  });
}
