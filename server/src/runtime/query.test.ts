import { describe, expect, it } from "vitest";
import { Query } from "./query.js";

describe("a query", () => {
  it("has decoded names and values, of which the first counts", () => {
    const query = new Query("a=1&b=x%20y+z&a=2&%63=%2B&=v&&bare&empty=");
    expect([query.get("a"), query.get("b"), query.get("c"), query.get("bare"), query.get("empty")]).toEqual([
      "1",
      "x y z",
      "+",
      "",
      "",
    ]);
    expect(query.get("missing")).toBeUndefined();
    expect([...query.names()]).toEqual(["a", "b", "c", "", "bare", "empty"]);
    expect(["a", "bare", "empty", "missing"].map((name) => query.isBare(name))).toEqual([false, true, true, false]);
  });

  it("rejects a malformed value only if it is used, and ignores malformed names", () => {
    const query = new Query("a=%zz&%C3=1&b=2");
    expect(query.get("b")).toBe("2");
    expect(() => query.get("a")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(query.has("%C3")).toBe(true);
  });
});
