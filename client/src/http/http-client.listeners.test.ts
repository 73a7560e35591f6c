import { ManualClock, until } from "@frontcache/proto/testing";
import { describe, expect, it, onTestFinished } from "vitest";
import { ramp } from "../testing/ramp.js";
import { type Asked, ScriptedListener } from "../testing/scripted-listener.js";
import { HttpClient, type HttpClientOptions, type HttpRequest } from "./http-client.js";
import { bodyBytes, type HttpResponse } from "./http-response.js";
import { InvalidResponse } from "./response-head.js";

const systemClock = {
  monotonicMs: () => performance.now(),
  after(delayMs: number, callback: () => void) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

const usual = { method: "GET", path: "/key", headers: {}, mayRepeat: () => true };

/** A listener that answers requests by a script, and a client for it. */
async function setUp(script: (asked: Asked) => void, options: Partial<HttpClientOptions> = {}) {
  const listener = await ScriptedListener.start(script);
  onTestFinished(() => listener.kill());
  const client = new HttpClient({
    clock: systemClock,
    mostConnections: 1,
    connectTimeoutMs: 60_000,
    secureTimeoutMs: 60_000,
    waitTimeoutMs: undefined,
    stallTimeoutMs: 60_000,
    idleMs: 60_000,
    maxHeadBytes: 64 << 10,
    proxyOf: () => undefined,
    secureContext: undefined,
    ...options,
  });
  onTestFinished(() => client.close());
  const send = (request: Partial<HttpRequest> = {}, signal = new AbortController().signal): Promise<HttpResponse> =>
    client.send({ ...usual, target: `http://${listener.address}`, ...request }, signal);
  const textOf = async (request?: Partial<HttpRequest>) => {
    const { body } = await send(request);
    return String(await bodyBytes(body, 1_000_000, "reject"));
  };
  return { listener, client, send, textOf };
}

const answers =
  (...texts: string[]) =>
  ({ socket, count }: Asked): void =>
    void socket.write(Buffer.from(texts[(count - 1) % texts.length]!, "latin1"));

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a request", () => {
  it("is sent with its path and headers verbatim, and with a host", async () => {
    const { textOf, listener } = await setUp(answers(OK));
    expect(await textOf({ path: "/a%2Fb/../c?x=%20", headers: { range: "bytes=0-1", "x-none": undefined } })).toBe("ok");
    expect(listener.asked[0]!.lines).toEqual(["GET /a%2Fb/../c?x=%20 HTTP/1.1", `host: ${listener.address}`, "range: bytes=0-1"]);
  });

  it("has its body behind its headers, with its length", async () => {
    let received = "";
    const { textOf } = await setUp((asked) => {
      asked.socket.once("data", (bytes) => {
        received += bytes.toString();
      });
      setImmediate(() => answers(OK)(asked));
    });
    const body = Buffer.alloc(100_000, "b");
    expect(await textOf({ method: "PUT", body, headers: { "content-type": "a/b" } })).toBe("ok");
    expect(received).toMatch(/^b*$/);
  });

  it.each<[string, Partial<HttpRequest>]>([
    ["a line end in a value", { headers: { range: "bytes=0-1\r\nx: y" } }],
    ["a line end in a name", { headers: { "a\r\nb": "c" } }],
    ["a character beyond Latin-1", { headers: { a: "\u0100" } }],
    ["a blank in its path", { path: "/a b" }],
    ["a line end in its path", { path: "/a\r\n" }],
    ["no name of a method", { method: "G T" }],
  ])("is not sent with %s", async (_, request) => {
    const { send, listener } = await setUp(answers(OK));
    await expect(send(request)).rejects.toBeInstanceOf(TypeError);
    expect(listener.connections).toBe(0);
  });

  it("is sent again if its kept connection was closed, unless it is not idempotent or must not be repeated", async () => {
    const closeSecond = (asked: Asked): void => {
      if (asked.count % 2 === 0) asked.socket.resetAndDestroy();
      else answers(OK)(asked);
    };
    const { textOf, listener } = await setUp(closeSecond);
    expect([await textOf(), await textOf()]).toEqual(["ok", "ok"]);
    expect(listener.asked.length).toBe(3);
    await expect(textOf({ method: "POST" })).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(listener.asked.length).toBe(4);
    expect(await textOf()).toBe("ok");
    await expect(textOf({ mayRepeat: () => false })).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(listener.asked.length).toBe(6);
  });

  it("is not sent again if a byte of its response has arrived", async () => {
    const { textOf, listener } = await setUp((asked) => {
      if (asked.count === 1) answers(OK)(asked);
      else asked.socket.end("HTTP/1.1 200");
    });
    await textOf();
    await expect(textOf()).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(listener.asked.length).toBe(2);
  });
});

describe("a request that waits for a connection", () => {
  it("fails after the timeout of waiting, while the request that has the connection may take longer", async () => {
    const clock = new ManualClock();
    const unanswered: Asked[] = [];
    const { textOf } = await setUp((asked) => void unanswered.push(asked), { clock, waitTimeoutMs: 30 });
    const first = textOf();
    await until(() => unanswered.length === 1);
    const second = expect(textOf()).rejects.toMatchObject({ code: "ETIMEDOUT" });
    await new Promise(setImmediate);
    clock.advance(30);
    await second;
    answers(OK)(unanswered[0]!);
    expect(await first).toBe("ok");
  });

  it("ends at once by an abort, and the others get the connection", async () => {
    const unanswered: Asked[] = [];
    const { send, textOf } = await setUp((asked) => void unanswered.push(asked));
    const first = textOf();
    await until(() => unanswered.length === 1);
    const abort = new AbortController();
    const second = expect(send({}, abort.signal)).rejects.toMatchObject({ code: "CANCELLED" });
    const third = textOf();
    abort.abort();
    await second;
    answers(OK)(unanswered[0]!);
    expect(await first).toBe("ok");
    await until(() => unanswered.length === 2);
    answers(OK)(unanswered[1]!);
    expect(await third).toBe("ok");
  });
});

describe("the connections", () => {
  it("fail all requests, waiting ones too, if the target refuses them", async () => {
    const { textOf, listener } = await setUp(answers(OK));
    await listener.kill();
    const outcomes = await Promise.allSettled([textOf(), textOf(), textOf()]);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ECONNREFUSED" } });
  });

  it("fail their request if nothing moves, before the head and in the body, but not while nobody lands it", async () => {
    const clock = new ManualClock();
    const { textOf, send, listener } = await setUp(
      ({ socket, count }) => {
        if (count > 1) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok");
      },
      { clock, stallTimeoutMs: 100 },
    );
    const silent = expect(textOf()).rejects.toMatchObject({ code: "ETIMEDOUT" });
    await until(() => listener.asked.length === 1);
    clock.advance(100);
    await silent;
    const { body } = await send();
    clock.advance(1_000);
    const stalled = expect(bodyBytes(body, 10, "reject")).rejects.toMatchObject({ code: "ETIMEDOUT" });
    await new Promise(setImmediate);
    clock.advance(100);
    await stalled;
    await until(() => listener.sockets.size === 0);
  });

  it("do not fail a request that waits for its head, however long that takes", async () => {
    const clock = new ManualClock();
    const { send, listener } = await setUp(() => {}, { clock, stallTimeoutMs: 100 });
    const abort = new AbortController();
    const sent = send({ method: "POST", waitsForHead: true }, abort.signal);
    await until(() => listener.asked.length === 1);
    clock.advance(1_000_000);
    listener.asked[0]!.socket.write(OK);
    const { status, body } = await sent;
    expect([status, String(await bodyBytes(body, 10, "reject"))]).toEqual([200, "ok"]);
  });

  it("are closed after the idle timeout, and all of them by close", async () => {
    const clock = new ManualClock();
    const { textOf, client, listener } = await setUp(
      (asked) => {
        if (asked.count <= 2) answers(OK)(asked);
      },
      { clock, idleMs: 50 },
    );
    await textOf();
    clock.advance(50);
    await until(() => listener.sockets.size === 0);
    await textOf();
    const running = expect(textOf()).rejects.toMatchObject({ code: "ECONNABORTED" });
    await until(() => listener.asked.length === 3);
    client.close();
    await running;
    await until(() => listener.sockets.size === 0);
  });

  it("are not used again after Connection: close, HTTP/1.0, a body without length, or bytes that nobody asked for", async () => {
    const texts = [
      "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 200 OK\r\n\r\nok",
      OK,
    ];
    const { textOf, listener } = await setUp((asked) => {
      answers(...texts)(asked);
      if (asked.count === 3) asked.socket.end();
    });
    for (let count = 1; count <= 3; count++) {
      expect(await textOf()).toBe("ok");
      expect(listener.connections).toBe(count);
    }
    expect(await textOf()).toBe("ok");
    listener.asked[3]!.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad");
    await until(() => listener.sockets.size === 0);
    expect(await textOf()).toBe("ok");
    expect(listener.connections).toBe(5);
  });
});

describe("a response", () => {
  it.each<[string, string, string]>([
    ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"],
    ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n003;x=y\r\nllo\r\n0\r\n\r\n", "hello"],
    ["trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\nZ:\r\n\r\n", "hello"],
    ["interim responses", `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${OK}`, "ok"],
    ["no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "ok"],
    ["no content", "HTTP/1.1 204 No Content\r\n\r\n", ""],
    ["no change", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", ""],
    ["an empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""],
    ["a head of 63 KiB", `HTTP/1.1 200 OK\r\nX: ${"x".repeat(63 << 10)}\r\nContent-Length: 2\r\n\r\nok`, "ok"],
  ])("with %s is received, in any pieces, on one connection", async (_, text, body) => {
    const { textOf, listener } = await setUp(({ socket, count }) => void sendInPieces(socket, text, count));
    for (let times = 0; times < 4; times++) expect(await textOf()).toBe(body);
    expect(listener.connections).toBe(1);
  });

  it("to a HEAD has no body, and its connection is closed if the server sends one", async () => {
    const head = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n";
    const { send, listener } = await setUp(answers(head, `${head}${"x".repeat(50)}`, head));
    for (let times = 0; times < 3; times++) {
      const response = await send({ method: "HEAD" });
      expect([response.status, response.head.contentLength, response.body.complete]).toEqual([200, 50, true]);
      expect(await bodyBytes(response.body, 10, "reject")).toHaveLength(0);
    }
    expect(listener.connections).toBe(2);
  });

  it("has its headers by name, several of one name joined", async () => {
    const { send } = await setUp(
      answers("HTTP/1.1 404 No\r\nA: 1\r\nb:\t2 \r\na: 3\r\n__proto__: x\r\nContent-Length: 0\r\n\r\n"),
    );
    const { status, head } = await send();
    expect(status).toBe(404);
    expect([head.header("a"), head.header("b"), head.header("c")]).toEqual(["1, 3", "2", undefined]);
    expect([...head].map(([name, value]) => `${name}=${value}`)).toEqual([
      "a=1",
      "b=2",
      "a=3",
      "__proto__=x",
      "content-length=0",
    ]);
    expect(Object.entries(head.toRecord())).toContainEqual(["__proto__", "x"]);
  });

  it.each<[string, string]>([
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"],
    ["twice the same length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"],
    ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"],
    ["a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"],
    ["a length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
    ["two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a folded line", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok"],
    ["a bare line feed", "HTTP/1.1 200 OK\nContent-Length: 2\n\r\n\r\nok"],
    ["a bare carriage return", "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\nok"],
    ["a NUL", "HTTP/1.1 200 OK\r\nX: a\0\r\n\r\nok"],
    ["a blank before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"],
    ["a name of none", "HTTP/1.1 200 OK\r\n: 2\r\n\r\nok"],
    ["HTTP/2", "HTTP/2 200 OK\r\n\r\nok"],
    ["another protocol", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["a switch of protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
    ["endless interim responses", "HTTP/1.1 102 Processing\r\n\r\n".repeat(17)],
    ["a head of more than 64 KiB", `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(11_000)}\r\n`],
    ["a head without end", `HTTP/1.1 200 OK\r\nX: ${"y".repeat(70_000)}`],
    ["more bytes than its length", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok"],
  ])("with %s is invalid, and its connection is closed", async (_, text) => {
    const { send, listener } = await setUp(answers(text));
    await expect(send()).rejects.toBeInstanceOf(InvalidResponse);
    await until(() => listener.sockets.size === 0);
  });

  it.each<[string, string]>([
    ["no size", "\r\nhello\r\n0\r\n\r\n"],
    ["a size that is no number", "5x\r\nhello\r\n0\r\n\r\n"],
    ["a negative size", "-5\r\nhello\r\n0\r\n\r\n"],
    ["a size in C's notation", "0x5\r\nhello\r\n0\r\n\r\n"],
    ["a size of 13 digits", `${"f".repeat(13)}\r\nhello`],
    ["a size that is too small", "4\r\nhello\r\n0\r\n\r\n"],
    ["a size that is too large", "6\r\nhello\r\n0\r\n\r\n"],
    ["a bare line feed", "5\nhello\n0\n\n"],
    ["a line without end", `5;${"x".repeat(2_000)}`],
    ["a trailer that is none", "0\r\nno trailer\r\n\r\n"],
    ["trailers without end", `0\r\n${"X: y\r\n".repeat(4_000)}`],
    ["bytes behind the last chunk", "0\r\n\r\nmore"],
  ])("in chunks is invalid with %s", async (_, chunks) => {
    const { textOf, listener } = await setUp(answers(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`));
    await expect(textOf()).rejects.toBeInstanceOf(InvalidResponse);
    await until(() => listener.sockets.size === 0);
  });

  it.each<[string, string]>([
    ["before its first byte", ""],
    ["in its head", "HTTP/1.1 200 OK\r\nContent-"],
    ["behind an interim response", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["in its body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"],
    ["in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell"],
    ["before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
    ["in the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n"],
  ])("fails if its connection ends %s", async (_, text) => {
    const { textOf } = await setUp(({ socket }) => void socket.end(text));
    await expect(textOf()).rejects.toMatchObject({ code: "ECONNRESET" });
  });
});

/** Writes a response: the first time at once, then cut in the middle, then byte by byte. */
async function sendInPieces(socket: Asked["socket"], text: string, count: number): Promise<void> {
  const bytes = Buffer.from(text, "latin1");
  const pieceBytes = count === 1 ? bytes.length : count === 2 ? Math.ceil(bytes.length / 2) : Math.ceil(bytes.length / 400);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    socket.write(bytes.subarray(at, at + pieceBytes));
    await new Promise(setImmediate);
  }
}

describe("a body", () => {
  const SIZE = 3 << 20;
  const object = (socket: Asked["socket"]): void => {
    socket.write(`HTTP/1.1 206 OK\r\nContent-Length: ${SIZE}\r\n\r\n`);
    socket.write(ramp(0, SIZE));
  };

  it("is received in the memory of its landing", async () => {
    const { send, listener } = await setUp(({ socket }) => object(socket));
    for (let times = 0; times < 3; times++) {
      const { body } = await send();
      const memory = Buffer.alloc(SIZE);
      let landed = 0;
      await body.land({
        room: () => memory.subarray(landed, landed + 100_000),
        landed(bytes) {
          landed += bytes;
        },
      });
      expect(landed).toBe(SIZE);
      expect(memory.equals(ramp(0, SIZE))).toBe(true);
    }
    expect(listener.connections).toBe(1);
  });

  it("is not received before it is landed, nor while it is paused", async () => {
    let sent = 0;
    const { send } = await setUp(({ socket }) => {
      socket.write(`HTTP/1.1 206 OK\r\nContent-Length: ${64 << 20}\r\n\r\n`);
      const more = (): void => {
        if (sent === 64 << 20) return;
        sent += 1 << 20;
        socket.write(Buffer.alloc(1 << 20), more);
      };
      more();
    });
    const { body } = await send();
    const quiet = async (): Promise<number> => {
      for (let before = -1; before !== sent; ) {
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return sent;
    };
    expect(await quiet()).toBeLessThan(32 << 20);
    const memory = Buffer.alloc(1 << 20);
    let landed = 0;
    const pausedAt = 40 << 20;
    const landing = body.land({
      room: () => memory,
      landed(bytes) {
        if (landed < pausedAt && landed + bytes >= pausedAt) body.pause();
        landed += bytes;
      },
    });
    await until(() => landed >= pausedAt);
    const before = landed;
    await quiet();
    expect(landed).toBe(before);
    body.resume();
    await landing;
    expect(landed).toBe(64 << 20);
  });

  it.each(["room", "landed"])("fails with the error of its landing (%s), and its connection is closed", async (where) => {
    const { send, listener } = await setUp(({ socket }) => object(socket));
    const { body } = await send();
    const full = new Error("no more room");
    const memory = Buffer.alloc(SIZE);
    let landed = 0;
    const landing = body.land({
      room() {
        if (where === "room" && landed > 1 << 20) throw full;
        // Less than the kernel may return by one read, so that it asks for room again.
        return memory.subarray(landed, landed + 100_000);
      },
      landed(bytes) {
        landed += bytes;
        if (where === "landed" && landed > 1 << 20) throw full;
      },
    });
    await expect(landing).rejects.toBe(full);
    await until(() => listener.sockets.size === 0);
    await expect(body.land({ room: () => memory, landed: () => {} })).rejects.toBe(full);
  });

  it.each(["destroyed", "aborted"])("writes nothing into its landing after it is %s", async (how) => {
    const half = SIZE / 2;
    const { send, listener } = await setUp(({ socket }) => {
      socket.write(`HTTP/1.1 206 OK\r\nContent-Length: ${SIZE}\r\n\r\n`);
      socket.write(ramp(0, half));
    });
    const abort = new AbortController();
    const { body } = await send({}, abort.signal);
    const memory = Buffer.alloc(SIZE, 255);
    let landed = 0;
    const landing = body.land({
      room: () => memory.subarray(landed),
      landed(bytes) {
        landed += bytes;
        if (landed < half) return;
        for (const socket of listener.sockets) socket.write(ramp(half, half));
        if (how === "destroyed") body.destroy();
        else abort.abort();
      },
    });
    await expect(landing).rejects.toThrow(how === "destroyed" ? "dropped" : "cancelled");
    await until(() => listener.sockets.size === 0);
    expect(landed).toBe(half);
    expect(memory.subarray(half).every((byte) => byte === 255)).toBe(true);
  });

  it("stops its landing in the middle of a received piece when it is destroyed", async () => {
    const { send } = await setUp(answers("HTTP/1.1 206 OK\r\nContent-Length: 20\r\n\r\n0123456789"));
    const { body } = await send();
    const landed: number[] = [];
    const landing = body.land({
      room: () => Buffer.alloc(4),
      landed(bytes) {
        landed.push(bytes);
        body.destroy();
      },
    });
    await expect(landing).rejects.toThrow("dropped");
    expect(landed).toEqual([4]);
  });

  it("keeps its connection if all its bytes have arrived before it is destroyed", async () => {
    const { send, textOf, listener } = await setUp(answers(OK));
    (await send()).body.destroy();
    expect(await textOf()).toBe("ok");
    expect(listener.connections).toBe(1);
  });

  it("is cut, or too long, with more bytes than allowed", async () => {
    const { send } = await setUp(answers("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n".concat("x".repeat(10_000))));
    expect(await bodyBytes((await send()).body, 9_999, "cut")).toHaveLength(9_999);
    await expect(bodyBytes((await send()).body, 9_999, "reject")).rejects.toThrow("more than 9999 bytes");
    expect(await bodyBytes((await send()).body, 10_000, "reject")).toHaveLength(10_000);
  });
});
