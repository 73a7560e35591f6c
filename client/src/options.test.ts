import { describe, expect, it } from "vitest";
import { clientDefaults, completeOptions, deadlineOf } from "./options.js";

describe("a client's options", () => {
  it("are complete with only an endpoint", () => {
    expect(completeOptions({ endpoint: "cache:8080" })).toMatchObject({ ...clientDefaults, endpoints: ["cache:8080"] });
    expect(completeOptions({ endpoint: "[::1]:8080", attempts: 2 }).attempts).toBe(2);
  });

  it.each([
    { endpoint: "" },
    { endpoint: "cache" },
    { endpoint: "http://cache:8080" },
    { endpoint: [] },
    { endpoint: ["a:1", 7 as unknown as string] },
    { endpoint: undefined as unknown as string },
    { endpoint: "a:1", lazy: "yes" as unknown as boolean },
    { endpoint: "a:1", log: "stdout" as unknown as () => void },
    { endpoint: "a:1", fallback: {} },
    { endpoint: "a:1", fallback: { s3: { send: () => undefined } as never } },
    { endpoint: "a:1", fallback: { gcs: {} as never } },
    { endpoint: "a:1", fallback: { s4: {} } as never },
    { endpoint: "a:1", deadlineMs: 0 },
    { endpoint: "a:1", deadlineMs: Number.POSITIVE_INFINITY },
    { endpoint: "a:1", connectTimeoutMs: -1 },
    { endpoint: "a:1", parallelBlocks: 1.5 },
    { endpoint: "a:1", streamBlocks: Number.NaN },
    { endpoint: "a:1", attempts: 0 },
    { endpoint: "a:1", transport: "pigeon" as "grpc" },
  ])("reject %j in one line", (options) => {
    expect(() => completeOptions(options)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(/^[^\n]+$/) }),
    );
  });

  it("may name several endpoints", () => {
    expect(completeOptions({ endpoint: ["a:1", "b:1", "a:1"] }).endpoints).toEqual(["a:1", "b:1"]);
  });

  it("report a failing function of tls or token as UNAVAILABLE, with its name", () => {
    const gone = (): never => {
      throw new Error("no such file");
    };
    const { access } = completeOptions({ endpoint: "a:1", tls: gone, token: gone });
    for (const [ask, name] of [
      [access.tls, "tls"],
      [access.authorization, "token"],
    ] as const) {
      const message = `the function for ${name} has failed: no such file`;
      expect(ask).toThrow(expect.objectContaining({ code: "UNAVAILABLE", message }));
    }
  });

  it("allow a deadline per call", () => {
    const options = completeOptions({ endpoint: "a:1" });
    expect(deadlineOf({}, options)).toBe(30_000);
    expect(deadlineOf({ deadlineMs: 5 }, options)).toBe(5);
    expect(() => deadlineOf({ deadlineMs: -5 }, options)).toThrow("deadlineMs -5 is not a whole number");
  });
});
