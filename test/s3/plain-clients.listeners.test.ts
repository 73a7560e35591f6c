import { requestHead } from "@frontcache/client/testing";
import { parsePlainRequest } from "@frontcache/server/testing";
import { describe, expect, it } from "vitest";

describe("a request of frontcache's clients", () => {
  it.each(["key", "a/b//c", "é ~!*'()?#%+&", "tab\t, line\r\nbreak, \0", "k".repeat(1024), "é".repeat(512)])(
    "has the fixed form of the plain lane for the key %s",
    (key) => {
      for (const version of ["", "v1", "W/v1"]) {
        for (const host of ["member-0.cache:8081", "10.0.0.1:8081", "[::1]:8081"]) {
          const request = { url: `s3://bucket/${key}`, offset: 2 ** 40, length: 2 ** 24, version };
          for (const authorization of [undefined, "Bearer a-token.of_~+/-="]) {
            const head = requestHead(request as never, host, authorization);
            const parsed = parsePlainRequest(Buffer.from(head, "latin1"), "prefixed");
            expect(parsed?.headers).toMatchObject({ host, ...(authorization !== undefined && { authorization }) });
          }
        }
      }
    },
  );
});
