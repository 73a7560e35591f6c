import { describe, expect, it } from "vitest";
import { ConnectionFailure, unreachableCode } from "./connection-failure.js";
import { Unreachable } from "./ports.js";

const socketError = (code: string): Error => Object.assign(new Error(`connect ${code} 10.0.0.7:8080`), { code });

describe("the code of the error because of which a member is unreachable", () => {
  it("is that of the socket, whether the connection failed or was lost", () => {
    const cause = ConnectionFailure.of("10.0.0.7:8080", socketError("ECONNREFUSED"));
    expect(unreachableCode(new Unreachable("a probe: no connection", { cause }))).toBe("ECONNREFUSED");
    expect(unreachableCode(new Unreachable("a value: lost", { cause: socketError("ECONNRESET") }))).toBe("ECONNRESET");
  });

  it("is the one in the text of an error of gRPC", () => {
    const cause = Object.assign(new Error("14 UNAVAILABLE: read ECONNRESET"), { code: 14 });
    expect(unreachableCode(new Unreachable("member a:1 is unreachable: read ECONNRESET", { cause }))).toBe("ECONNRESET");
  });

  it("is NO_ANSWER if the connection stands", () => {
    const cause = Object.assign(new Error("1 CANCELLED: Cancelled on client"), { code: 1 });
    expect(unreachableCode(new Unreachable("member a:1 is unreachable: it does not respond", { cause }))).toBe("NO_ANSWER");
  });
});
