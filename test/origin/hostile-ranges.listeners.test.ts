import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setImmediate as nextIteration } from "node:timers/promises";
import { ramp } from "@frontcache/client/testing";
import { CacheError, parseObjectUrl, versionOfStoreTag } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { bytesOf, checkedAnswer, DIRECT, originClient, rangeOf } from "@frontcache/server/testing";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { asked, type HostileAnswer, hostileAnswer, isFramed } from "../s3/hostile-answer.js";

/** For long runs set FRONTCACHE_HOSTILE_ANSWERS=10000; to repeat a run set FRONTCACHE_HOSTILE_SEED=17. */
const answers = Number(process.env.FRONTCACHE_HOSTILE_ANSWERS ?? 500);
const seed = Number(process.env.FRONTCACHE_HOSTILE_SEED ?? 1);

const ref = parseObjectUrl("s3://bucket/hostile");
const object = ramp(asked.offset, asked.length);

const range = { range: `bytes=${asked.offset}-${asked.offset + asked.length - 1}` };
const target = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

interface RangeAnswer extends HostileAnswer {
  readonly headApart: boolean;
}

let server: Server;
let current: RangeAnswer;
const sockets = new Set<Socket>();

beforeEach(async () => {
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.once("data", () => void send(current, socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(async () => {
  server.close();
  await once(server, "close");
});

/** Sends an answer in pieces, with the head as one piece if `headApart`, and ends the connection. */
async function send({ wire, cuts, ending, headApart }: RangeAnswer, socket: Socket): Promise<void> {
  const headBytes = wire.indexOf("\r\n\r\n", 0, "latin1") + 4;
  const places = cuts.map((share) => Math.floor(share * wire.length)).filter((at) => !headApart || at > headBytes);
  const ends = [...(headApart ? [headBytes] : []), ...places.sort((a, b) => a - b), wire.length];
  let at = 0;
  for (const end of ends) {
    if (end > at && !socket.destroyed) socket.write(wire.subarray(at, end));
    at = end;
    for (let iteration = 0; iteration < 5; iteration++) await nextIteration(); // so that it is usually read before the next piece
  }
  if (ending === "reset") socket.resetAndDestroy();
  else socket.end();
}

/** The outcome of the current answer by an origin's client. */
async function outcome(): Promise<Buffer | string> {
  const { signal } = new AbortController();
  const client = originClient({ maxConnections: 1, waitTimeoutMs: undefined, idleTimeoutMs: 60_000, way: DIRECT });
  try {
    const { status, head, body } = await client.send(
      { method: "GET", target: target(), path: "/hostile", headers: range },
      signal,
    );
    const known = {
      status,
      contentRange: head.header("content-range"),
      contentLength: head.contentLength,
      version: versionOfStoreTag(head.header("etag")),
      contentType: undefined,
      lastModifiedMs: undefined,
      headers: undefined,
      lacks: undefined,
    };
    return await bytesOf(checkedAnswer(rangeOf(ref, asked, signal), known, body));
  } catch (error) {
    // The stores' origins make it of InvalidResponse and of the system's errors.
    return error instanceof CacheError ? error.code : "UNAVAILABLE";
  } finally {
    client.close();
    await eventually(() => expect(sockets.size).toBe(0));
  }
}

/** The status and the body of the current answer by Node's client; undefined: it is an error. */
async function outcomeByNode(): Promise<{ status: number; body: Buffer } | undefined> {
  try {
    const sent = get(`${target()}/hostile`, { agent: false, maxHeaderSize: 64 << 10 });
    sent.on("error", () => {}); // of bytes behind the response, too
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    return { status: response.statusCode!, body: Buffer.concat(chunks) };
  } catch {
    return undefined;
  } finally {
    await eventually(() => expect(sockets.size).toBe(0));
  }
}

it(`broken and hostile answers are errors, or exactly what Node's client receives (${answers} of seed ${seed})`, async () => {
  let whole = 0;
  const codes = new Map<string, number>();
  const property = fc.asyncProperty(hostileAnswer, fc.boolean(), async (answer, headApart) => {
    current = { ...answer, headApart };
    const came = await outcome();
    if (typeof came === "string") {
      codes.set(came, (codes.get(came) ?? 0) + 1);
      return;
    }
    whole++;
    if (isFramed(answer)) expect(came.equals(object)).toBe(true);
    // A reset overtakes what was sent, as far as it was not received: that is a matter of time.
    if (answer.ending === "reset") return;
    const byNode = await outcomeByNode();
    expect(byNode?.status === 206 || byNode?.status === 200).toBe(true);
    expect(came.equals(byNode!.body)).toBe(true);
  });
  await fc.assert(property, { numRuns: answers, seed });
  console.info(`${whole} of ${answers} came whole, the others were`, Object.fromEntries(codes));
  expect(whole).toBeGreaterThan(answers / 50);
  for (const code of codes.keys()) expect(["UNAVAILABLE", "OUT_OF_RANGE"]).toContain(code);
}, 600_000);
