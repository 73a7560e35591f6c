import { describe, expect, it } from "vitest";
import { Opened } from "./opened.js";

function failing() {
  const opened = new Opened();
  const closed: string[] = [];
  const further: string[] = [];
  const close = (name: string, fails: boolean) => async () => {
    closed.push(name);
    if (fails) throw new Error(name);
  };
  opened.add(close("first", false));
  opened.add(close("store", true));
  opened.add(() => {
    closed.push("at once");
    throw new Error("at once");
  });
  opened.addListener(close("grpc", true));
  opened.addListener(close("http", false));
  return { opened, closed, further, onFurther: (error: unknown) => void further.push((error as Error).message) };
}

describe("a list of opened resources", () => {
  it("is closed completely even if some of it fails, and reports the first failure", async () => {
    const { opened, closed, further, onFurther } = failing();
    await expect(opened.close(onFurther)).rejects.toThrow("grpc");
    expect(closed).toEqual(["grpc", "http", "at once", "store", "first"]);
    expect(further).toEqual(["at once", "store"]);
  });

  it("never hides the failure that caused the close", async () => {
    const { opened, closed, further, onFurther } = failing();
    const failure = new Error("the address is taken");
    await expect(opened.closeAfter(failure, onFurther)).rejects.toBe(failure);
    expect(closed).toHaveLength(5);
    expect(further).toHaveLength(3);
  });

  it("is closed once", async () => {
    const { opened, closed, onFurther } = failing();
    await expect(opened.close(onFurther)).rejects.toThrow("grpc");
    await opened.close(onFurther);
    expect(closed).toHaveLength(5);
  });
});
