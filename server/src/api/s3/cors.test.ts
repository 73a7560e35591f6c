import { describe, expect, it } from "vitest";
import { bodyOf } from "../../origin/passed-body.js";
import { ANONYMOUS } from "../../security/principal.js";
import { ManualClock } from "../../testing/index.js";
import { MemoryCache } from "../../testing/memory-cache.js";
import { Cors } from "./cors.js";

const BUCKET = { url: "s3://bucket", scheme: "s3", bucket: "bucket" } as const;

function rulesFor(origin: string): Buffer {
  return Buffer.from(
    `<CORSConfiguration><CORSRule><AllowedOrigin>${origin}</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>`,
  );
}

describe("the rules of a bucket about pages", () => {
  const context = { clock: new ManualClock() };
  const cors = new Cors(() => undefined);
  const cache = new MemoryCache();
  const watched = cors.watch(cache);
  let document = rulesFor("https://old.example");
  cache.passedAnswer = () => ({ status: 200, headers: [], length: document.length, body: bodyOf(document) });
  const origins = async (): Promise<string[]> =>
    (await cors.rulesOf(BUCKET, watched, context)).flatMap(({ allowedOrigins }) => allowedOrigins);
  const write = (query: [string, string][]): Promise<unknown> =>
    watched.ask({
      ...{ kind: "write", ref: BUCKET, method: "PUT", query, headers: [], grants: [], changes: [], body: Buffer.alloc(0) },
      ...{ mayRepeat: true, principal: ANONYMOUS, signal: new AbortController().signal },
    });

  it("are forgotten when a client changes them through the member, and not when it changes anything else", async () => {
    expect(await origins()).toEqual(["https://old.example"]);
    document = rulesFor("https://new.example");
    await write([["policy", ""]]).catch(() => {});
    expect(await origins()).toEqual(["https://old.example"]);
    await write([["cors", ""]]).catch(() => {});
    expect(await origins()).toEqual(["https://new.example"]);
  });

  it("are not remembered if they were asked for before the change", async () => {
    context.clock.advance(60_000);
    let [answer, reach] = [(): void => {}, (): void => {}];
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const reached = new Promise<void>((resolve) => {
      reach = resolve;
    });
    const early = cors.rulesOf(
      BUCKET,
      {
        ask: async (question) => {
          const found = await cache.ask(question);
          reach();
          await answered;
          return found;
        },
      },
      context,
    );
    await reached;
    document = rulesFor("https://newest.example");
    await write([["cors", ""]]).catch(() => {});
    answer();
    expect(await early).toMatchObject([{ allowedOrigins: ["https://new.example"] }]);
    expect(await origins()).toEqual(["https://newest.example"]);
  });

  it("are read with the members' credentials if the origin refuses them to the signer of a URL", async () => {
    const asked: (string | undefined)[] = [];
    cache.passedAnswer = ({ onBehalfOf }) => {
      asked.push(onBehalfOf);
      const status = onBehalfOf === undefined ? 200 : 403;
      return { status, headers: [], length: document.length, body: bodyOf(document) };
    };
    expect(await cors.rulesOf(BUCKET, watched, context, "ada")).toHaveLength(1);
    expect(asked).toEqual(["ada", undefined]);
  });
});
