import { eventually } from "@frontcache/proto/testing";
import { HttpFixture, NOTHING_LEFT } from "@frontcache/server/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seededRandom } from "../seeded-random.js";
import { HostileRequests } from "./hostile-requests.js";

const SEED = Number(process.env.SEED ?? 1);
/** Connections with random bytes; 10,000 take 15 seconds. */
const ROUNDS = Number(process.env.FRONTCACHE_HOSTILE_ROUNDS ?? 1_500);
const BESIDES = 100;
const OBJECT = "0123456789";

const GOOD = "GET /s3/bucket/object HTTP/1.1\r\nHost: member\r\nRange: bytes=2-5\r\n\r\n";

let fixture: HttpFixture;

beforeAll(async () => {
  fixture = await HttpFixture.open();
  fixture.put("s3://bucket/object", OBJECT);
  fixture.put("gs://bucket/object", OBJECT);
});

afterAll(async () => {
  await eventually(() => expect([fixture.listener.openConnections, fixture.left()]).toEqual([0, NOTHING_LEFT]));
  await fixture[Symbol.asyncDispose]();
});

/** Sends bytes in the given pieces, then FIN; resolves with all received bytes. */
async function send(...pieces: (string | Buffer)[]): Promise<string> {
  await using client = await fixture.connect();
  for (const piece of pieces) {
    client.send(piece);
    if (pieces.length > 1) await new Promise((resolve) => setImmediate(resolve));
  }
  client.socket.end();
  return await client.rest();
}

/** Returns the statuses of the responses, which must be complete, without other bytes. `heads`: some may answer a HEAD. */
function statuses(wire: string, heads = false): number[] {
  const found: number[] = [];
  for (let rest = wire; rest !== ""; ) {
    const match = /^HTTP\/1\.1 (\d{3}) [^\r\n]*\r\n([^\0]*?)\r\n\r\n/.exec(rest);
    if (match === null) throw new Error(`not an answer: ${JSON.stringify(rest.slice(0, 200))}`);
    // No body begins like that. If a body is missing, the response was to a HEAD.
    const isHead = heads && /^(HTTP\/1\.1 |$)/.test(rest.slice(match[0].length));
    const length = isHead ? 0 : Number(/^content-length: (\d+)$/im.exec(match[2]!)?.[1] ?? 0);
    const body = rest.slice(match[0].length, match[0].length + length);
    if (body.length < length) throw new Error(`cut short: ${JSON.stringify(rest.slice(0, 200))}`);
    if (!isHead) checkBytes(Number(match[1]), match[2]!, body);
    found.push(Number(match[1]));
    rest = rest.slice(match[0].length + length);
  }
  return found;
}

/** Checks that a body contains exactly the range in its header. */
function checkBytes(status: number, head: string, body: string): void {
  if (status !== 206 && !(status === 200 && /^etag:/im.test(head))) return;
  const [, first, last] = /^content-range: bytes (\d+)-(\d+)\/10$/im.exec(head) ?? [];
  const right = status === 200 ? OBJECT : OBJECT.slice(Number(first), Number(last) + 1);
  if (body !== right) throw new Error(`wrong bytes: ${JSON.stringify(body)} behind ${JSON.stringify(head)}`);
}

describe("valid request heads", () => {
  it("are accepted wherever they are split", async () => {
    const whole = statuses(await send(GOOD));
    expect(whole).toEqual([206]);
    const splits = Array.from({ length: GOOD.length - 1 }, (_, at) => [GOOD.slice(0, at + 1), GOOD.slice(at + 1)]);
    for (const answer of await Promise.all(splits.map((pieces) => send(...pieces)))) expect(statuses(answer)).toEqual([206]);
    expect(statuses(await send(...GOOD))).toEqual([206]);
  });

  it("are answered one by one when they arrive in one piece", async () => {
    expect(statuses(await send(GOOD.repeat(50)))).toEqual(Array(50).fill(206));
  });

  it("of HTTP/1.0 are answered, and the connection is closed", async () => {
    expect(statuses(await send(`GET /s3/bucket/object HTTP/1.0\r\n\r\n${GOOD}`))).toEqual([200]);
    const expecting = "GET /s3/bucket/object HTTP/1.1\r\nHost: member\r\nExpect: coffee\r\n\r\n";
    expect(statuses(await send(`${expecting}${GOOD}`))).toEqual([200, 206]);
  });
});

describe("invalid request heads are answered with 4xx and a closed connection", () => {
  it.each([
    ["lines that end in LF alone", "GET /s3/bucket/object HTTP/1.1\nHost: member\n\n", 400],
    ["a header without a name", "GET /s3/bucket/object HTTP/1.1\r\n: x\r\n\r\n", 400],
    ["a space before the colon", "GET /s3/bucket/object HTTP/1.1\r\nHost : member\r\n\r\n", 400],
    ["a folded line", "GET /s3/bucket/object HTTP/1.1\r\nHost: member\r\nRange: bytes=\r\n 0-1\r\n\r\n", 400],
    ["NUL in a value", "GET /s3/bucket/object HTTP/1.1\r\nHost: mem\0ber\r\n\r\n", 400],
    ["CR in a value", "GET /s3/bucket/object HTTP/1.1\r\nHost: mem\rber\r\n\r\n", 400],
    ["an unknown method", "FETCH /s3/bucket/object HTTP/1.1\r\nHost: member\r\n\r\n", 400],
    ["a method in small letters", "get /s3/bucket/object HTTP/1.1\r\nHost: member\r\n\r\n", 400],
    ["no host", "GET /s3/bucket/object HTTP/1.1\r\n\r\n", 400],
    ["a space in the path", "GET /s3/bucket/ob ject HTTP/1.1\r\nHost: member\r\n\r\n", 400],
    ["another protocol", "GET /s3/bucket/object HTCPCP/1.0\r\nHost: member\r\n\r\n", 400],
    ["HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400],
    ["TLS", Buffer.from("16030100f8010000f40303", "hex"), 400],
    ["two lengths", "GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400],
    [
      "length and chunks",
      "GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
    ],
    ["an invalid length", "GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nContent-Length: -1\r\n\r\n", 400],
    ["a huge header", `GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\nX: ${"x".repeat(100_000)}\r\n\r\n`, 431],
    ["many headers", `GET /s3/bucket/object HTTP/1.1\r\nHost: m\r\n${"X: y\r\n".repeat(20_000)}\r\n`, 431],
    ["a huge path", `GET /s3/bucket/${"x".repeat(100_000)} HTTP/1.1\r\nHost: m\r\n\r\n`, 431],
    ["half a head", "GET /s3/bucket/object HTTP/1.1\r\nHo", 400],
  ])("%s", async (_, head, status) => {
    expect(statuses(await send(head))).toEqual([status]);
  });

  it("and CONNECT opens no tunnel", async () => {
    expect(await send("CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n")).toBe("");
    expect(statuses(await send(GOOD.replace("\r\n\r\n", "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")))).toEqual([
      206,
    ]);
  });

  it("and do not damage the response to a valid request before them", async () => {
    const wire = await send(`${GOOD}\0\0\0`);
    if (wire !== "") expect(statuses(wire)[0]).toBe(206);
  });
});

describe("random bytes", () => {
  const requests = new HostileRequests(seededRandom(SEED));

  /** Returns the bytes that a client receives which disconnects normally, half-closes, or disconnects immediately. */
  async function receive(pieces: readonly Buffer[], how: "ends" | "resets"): Promise<string> {
    if (how === "ends") return send(...pieces);
    await using client = await fixture.connect();
    for (const piece of pieces) client.send(piece);
    await new Promise((resolve) => setImmediate(resolve));
    client.socket.resetAndDestroy();
    return "";
  }

  it(`get complete and correct responses, a refusal, or a closed connection (SEED=${SEED}, ${ROUNDS} connections)`, async () => {
    const seen = new Map<number, number>();
    for (let round = 0; round < ROUNDS; round += BESIDES) {
      const sent = Array.from({ length: BESIDES }, () => requests.next());
      const wires = await Promise.all(sent.map((pieces, at) => receive(pieces, at % 10 === 9 ? "resets" : "ends")));
      const found = wires.flatMap((wire, at) => statuses(wire, Buffer.concat(sent[at]!).includes("HEAD")));
      for (const status of found) seen.set(status, (seen.get(status) ?? 0) + 1);
      expect(fixture.listener.runningAnswers).toBeLessThanOrEqual(BESIDES);
    }
    // The input covers all outcomes: successes, our rejections, and rejections of bytes that are not HTTP.
    for (const status of [200, 206, 400, 404, 405, 416, 501]) expect(seen.get(status) ?? 0, `${status}`).toBeGreaterThan(0);
    const others = [...seen.keys()].filter((status) => status >= 500 && status !== 501);
    expect(others).toEqual([]);
    expect(fixture.logged).toEqual([]);
    expect(statuses(await send(GOOD))).toEqual([206]);
  }, 600_000);
});
