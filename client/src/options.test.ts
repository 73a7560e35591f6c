import { describe, expect, it } from "vitest";
import { clientDefaults, completeOptions, deadlineOf } from "./options.js";

describe("a client's options", () => {
  it("are complete with only an endpoint", () => {
    expect(completeOptions({ endpoint: "cache:8080" })).toMatchObject({ ...clientDefaults, endpoint: "cache:8080" });
    expect(completeOptions({ endpoint: "[::1]:8080", attempts: 2 }).attempts).toBe(2);
  });

  it.each([
    { endpoint: "" },
    { endpoint: "cache" },
    { endpoint: "http://cache:8080" },
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
